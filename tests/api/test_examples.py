"""The examples of the docstrings, run against a share."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
from pathlib import Path

import pytest

import s3pull
import s3pull.api
from tests.apart import apart

MODULES = [f"s3pull.api.{found.name}" for found in pkgutil.iter_modules(s3pull.api.__path__)]
FINDER = doctest.DocTestFinder(exclude_empty=True)


def examples(module):
    return [test for test in FINDER.find(importlib.import_module(module)) if test.examples]


def examples_of_the_page():
    text = (Path(__file__).parents[2] / "docs" / "PYTHON.md").read_text(encoding="utf-8").replace("\n```\n", "\n\n")
    return doctest.DocTestParser().get_doctest(text, {}, "PYTHON.md", None, 0)


def run(tests):
    """In a process of its own: see `apart`."""
    import pandas
    import polars

    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    for test in tests:
        test.globs.update({"s3pull": s3pull, "pandas": pandas, "polars": polars})
        runner.run(test)
    assert runner.failures == 0


@pytest.mark.parametrize("module", MODULES)
def test_examples(module, partner):
    partner.put_release()
    apart("from tests.api.test_examples import examples, run; run(examples(sys.argv[1]))", module)


def test_examples_of_the_page(partner):
    partner.put_release()
    assert len(examples_of_the_page().examples) >= 10
    apart("from tests.api.test_examples import examples_of_the_page, run; run([examples_of_the_page()])")


def test_every_function_has_an_example():
    documented = {test.name.rpartition(".")[2] for module in MODULES for test in examples(module)}
    assert documented == {"pull", "sync", "ls", "open", "storage_options", "url"}
