"""The import law, read from the source by AST: who may know whom, what may be loaded early, who may speak, and that who
gave bad input is told what to do.

It looks at source only and runs none of it, so that a module that nobody imports is held to the law too.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import TypeGuard

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "s3pull"
MODULES = sorted(PACKAGE.rglob("*.py"))

#: what each room may import of ours, itself apart
CORE = {"records", "objects", "errors", "events"}
MAY_IMPORT = {
    "records": set(),
    "garbage": set(),
    "objects": CORE,
    "errors": CORE,
    "events": CORE,
    "access": CORE,
    "remote": CORE,
    "local": CORE,
    "pull": CORE | {"access", "remote", "local", "garbage"},
    "cli": CORE | {"access", "remote", "local", "pull"},
    "__main__": {"cli", "garbage"},
    "api": CORE | {"access", "remote", "local", "pull"},
    "__init__": {"api", "errors", "events"},
}

#: slow to import, and a warm run may need none of them: only inside functions, on the paths that do
LATE = {
    "anycrc",
    "awscrt",
    "boto3",
    "botocore",
    "click",
    "cryptography",
    "distributed",
    "keyring",
    "moto",
    "tomlkit",
    "tqdm",
    "typer",
}
#: who reads the command lines that have to be talked about, and what is generated from that: a run needs none of them
EARLY_IN = {f"cli/{name}.py": {"click", "typer"} for name in ("completions", "manual", "parser", "root")}

#: entry points of processes of ours: they have no terminal, and end themselves
PROCESSES = {"mate_process"}
GRAB_BAGS = {"utils", "util", "helpers", "helper", "common", "base", "misc", "tools", "shared", "core", "lib"}
MOST_LINES = 500


def room(path: Path) -> str:
    """The first name below the package: a room, or a module that stands alone."""
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def dotted(path: Path) -> list[str]:
    """The package that `path` is in, as relative imports see it."""
    return ["s3pull", *path.relative_to(PACKAGE).parent.parts]


def imported(tree: ast.AST, package: list[str]) -> Iterator[str]:
    """Every name that `tree` imports, dotted and absolute; `from a import b` counts as a.b."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            stem = ".".join([*above, *([node.module] if node.module else [])])
            yield from (f"{stem}.{alias.name}" for alias in node.names)


def run_on_import(tree: ast.Module) -> Iterator[ast.stmt]:
    """The statements that run when the module is imported: no function bodies, nothing under TYPE_CHECKING."""
    waiting: list[ast.stmt] = list(tree.body)
    while waiting:
        node = waiting.pop(0)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            waiting += node.orelse
            continue
        inner = [child for child in ast.walk(node) if isinstance(child, ast.stmt) and child is not node]
        if inner:
            waiting += [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt)]
            waiting += [
                statement
                for child in ast.iter_child_nodes(node)
                if isinstance(child, ast.ExceptHandler | ast.match_case)
                for statement in child.body
            ]
        else:
            yield node


def ours(path: Path, tree: ast.Module) -> set[str]:
    """The rooms (and lone modules) that this one imports, its own apart; the package itself is `__init__`."""
    known = set(MAY_IMPORT)
    names = set()
    for name in imported(tree, dotted(path)):
        parts = name.split(".")
        if parts[0] != "s3pull":
            continue
        below = parts[1] if len(parts) > 1 else "__init__"
        names.add(below if below in known else "__init__")
    return names - {room(path)}


def law_breaks(path: Path, source: str) -> list[str]:
    """What in `source`, standing at `path`, breaks the law."""
    tree = ast.parse(source)
    here = room(path)
    broken = [
        f"{here} may not import s3pull.{name}" for name in sorted(ours(path, tree) - MAY_IMPORT[here] - {"__init__"})
    ]
    early = {name.split(".")[0] for statement in run_on_import(tree) for name in imported(statement, dotted(path))}
    broken += [
        f"imports {name} at the top"
        for name in sorted(early & LATE - EARLY_IN.get(path.relative_to(PACKAGE).as_posix(), set()))
    ]
    if here not in {"cli", "__main__"} and path.stem not in PROCESSES:
        for node in ast.walk(tree):
            text = ast.unparse(node) if isinstance(node, ast.Attribute) else ""
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in {"print", "exit"}:
                broken.append(f"calls {node.func.id}()")
            if text in {"sys.stdout", "sys.stderr", "sys.exit", "os._exit"}:
                broken.append(f"uses {text}")
    broken += ["refuses input without a hint" for node in ast.walk(tree) if is_refusal(node) and not has_hint(node)]
    if not ast.get_docstring(tree):
        broken.append("does not say what it is for")
    if len(source.splitlines()) > MOST_LINES:
        broken.append(f"is longer than {MOST_LINES} lines")
    if path.stem in GRAB_BAGS:
        broken.append(f"is a grab bag by name: {path.stem}")
    return broken


def is_refusal(node: ast.AST) -> TypeGuard[ast.Call]:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "UsageError"


def has_hint(call: ast.Call) -> bool:
    given = {word.arg: word.value for word in call.keywords}
    hint = given.get("hint", ast.Constant(None))
    return None in given or not isinstance(hint, ast.Constant) or bool(hint.value)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_module_keeps_the_law(path):
    assert law_breaks(path, path.read_text(encoding="utf-8")) == []


def test_there_are_modules_in_every_room():
    assert {room(path) for path in MODULES} == set(MAY_IMPORT)


@pytest.mark.parametrize(
    ("place", "source", "complaint"),
    [
        ("local/tree.py", "from s3pull.remote import store", "local may not import s3pull.remote"),
        ("local/tree.py", "from s3pull import remote", "local may not import s3pull.remote"),
        ("local/tree.py", "from ..remote.store import Store", "local may not import s3pull.remote"),
        ("access/cache.py", "def f():\n    import s3pull.pull.get", "access may not import s3pull.pull"),
        ("errors.py", "import s3pull.cli.app", "errors may not import s3pull.cli"),
        ("pull/get.py", "from s3pull.cli import render", "pull may not import s3pull.cli"),
        ("pull/get.py", "from s3pull.api import file", "pull may not import s3pull.api"),
        ("api/file.py", "def f():\n    from s3pull.cli import options", "api may not import s3pull.cli"),
        ("cli/get.py", "from s3pull.api import caller", "cli may not import s3pull.api"),
        ("api/file.py", "import sys\nsys.stderr.write('x')", "uses sys.stderr"),
        ("remote/endpoint.py", "import botocore.session", "imports botocore at the top"),
        (
            "remote/endpoint.py",
            "try:\n    import boto3\nexcept ImportError:\n    boto3 = None",
            "imports boto3 at the top",
        ),
        ("remote/endpoint.py", "try:\n    X = 1\nexcept OSError:\n    import boto3", "imports boto3 at the top"),
        ("access/keys.py", "class A:\n    import keyring", "imports keyring at the top"),
        ("cli/demo.py", "from moto.server import ThreadedMotoServer", "imports moto at the top"),
        ("pull/get.py", "import typer", "imports typer at the top"),
        ("cli/get.py", "import typer", "imports typer at the top"),
        ("pull/get.py", "print('hello')", "calls print()"),
        ("pull/get.py", "import sys\nsys.stderr.write('x')", "uses sys.stderr"),
        ("pull/get.py", "x = 1\n" * 501, "is longer than 500 lines"),
        ("pull/utils.py", "x = 1", "is a grab bag by name: utils"),
        ("pull/get.py", "raise UsageError('no')", "refuses input without a hint"),
        ("pull/get.py", "raise UsageError('no', hint=None)", "refuses input without a hint"),
        ("pull/get.py", "raise UsageError('no', key=key)", "refuses input without a hint"),
        ("pull/get.py", "x = 1", "does not say what it is for"),
    ],
)
def test_the_law_is_noticed_when_broken(place, source, complaint):
    assert complaint in law_breaks(PACKAGE / place, source)


@pytest.mark.parametrize(
    ("place", "source"),
    [
        ("remote/endpoint.py", '"""Doc."""\ndef f():\n    import botocore.session'),
        ("remote/endpoint.py", '"""Doc."""\nfrom typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import boto3'),
        ("cli/parser.py", '"""Doc."""\nimport typer\nprint(typer)'),
        ("pull/get.py", '"""Doc."""\nraise UsageError("no", hint="do this")'),
        ("pull/get.py", '"""Doc."""\nraise UsageError("no", **known)'),
        ("pull/get.py", '"""Doc."""\nfrom s3pull import __version__, errors\nfrom s3pull.local import tree'),
        (
            "remote/engine.py",
            '"""Doc."""\nfrom . import store\nfrom .store import Store\nfrom ..errors import UsageError',
        ),
    ],
)
def test_what_the_law_allows(place, source):
    assert law_breaks(PACKAGE / place, source) == []
