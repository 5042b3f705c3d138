"""The examples of the docstrings, run against a share."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
from pathlib import Path

import pandas
import polars
import pytest

import s3pull
import s3pull.api

MODULES = [f"s3pull.api.{found.name}" for found in pkgutil.iter_modules(s3pull.api.__path__)]
FINDER = doctest.DocTestFinder(exclude_empty=True)


def examples(module):
    return [test for test in FINDER.find(importlib.import_module(module)) if test.examples]


@pytest.mark.parametrize("module", MODULES)
def test_examples(module, partner, capsys):
    partner.put_release()
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    for test in examples(module):
        test.globs = {"s3pull": s3pull, "pandas": pandas, "polars": polars}
        runner.run(test)
    assert runner.failures == 0, capsys.readouterr().out


def test_examples_of_the_page(partner, capsys):
    partner.put_release()
    text = (Path(__file__).parents[2] / "docs" / "PYTHON.md").read_text(encoding="utf-8").replace("\n```\n", "\n\n")
    test = doctest.DocTestParser().get_doctest(text, {}, "PYTHON.md", None, 0)
    assert len(test.examples) >= 10
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    runner.run(test)
    assert runner.failures == 0, capsys.readouterr().out


def test_every_function_has_an_example():
    documented = {test.name.rpartition(".")[2] for module in MODULES for test in examples(module)}
    assert documented == {"pull", "sync", "ls", "open", "storage_options", "url"}
