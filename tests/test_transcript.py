"""The transcript runner, on a stand-in for the command: what it passes on, what it brings back, what it kills."""

import signal
import textwrap

import pytest

from tests.transcript import run_s3pull, start_s3pull, tree_of

pytestmark = pytest.mark.usefixtures("stand_in")


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """`python -m s3pull` finds this package first, since it lies in the working directory's PYTHONPATH."""
    package = tmp_path / "path" / "s3pull"
    package.mkdir(parents=True)
    package.joinpath("__init__.py").write_text("")
    package.joinpath("__main__.py").write_text(
        textwrap.dedent(
            """
            import getpass, os, pathlib, sys, time
            verb = sys.argv[1]
            if verb == "echo":
                pathlib.Path("sub").mkdir()
                pathlib.Path("sub/file").write_text("four")
                print("out", sys.argv[2:], os.environ.get("GIVEN"), sys.stdin.read())
                print("err", file=sys.stderr)
                sys.exit(3)
            if verb == "terminal":
                print("tty", *(one.isatty() for one in (sys.stdin, sys.stdout, sys.stderr)))
                print("columns", os.get_terminal_size(2).columns, file=sys.stderr)
                print("read", input("name? "), getpass.getpass("MFA code: "))
            if verb == "hang":
                print("hanging", file=sys.stderr, flush=True)
                time.sleep(60)
            """
        )
    )
    monkeypatch.setenv("PYTHONPATH", str(package.parent))
    monkeypatch.setenv("PYTHONSAFEPATH", "1")


@pytest.fixture
def cwd(tmp_path):
    folder = tmp_path / "cwd"
    folder.mkdir()
    return folder


def test_a_run_and_what_it_left(cwd):
    result = run_s3pull(["echo", "-x", "a b"], {"GIVEN": "env"}, cwd, stdin="typed")
    assert result.stdout == "out ['-x', 'a b'] env typed\n"
    assert (result.stderr, result.code, result.tree) == ("err\n", 3, {"sub/file": 4})


def test_a_terminal(cwd):
    result = run_s3pull(["terminal"], cwd=cwd, tty=True, answers={"name? ": "ana", "MFA code: ": "123456"})
    assert result.stdout.splitlines()[0] == "tty True True True"
    assert result.stdout.endswith("read ana 123456\n")
    assert "columns 100\n" in result.stderr
    assert "123456" not in result.stderr  # getpass turned the echo off
    assert (result.code, result.tree) == (0, {})


def test_a_kill(cwd):
    run = start_s3pull(["hang"], cwd=cwd)
    while "hanging" not in run.stderr_so_far():
        assert run.process.poll() is None
    assert run.kill().code == -signal.SIGKILL
    run = start_s3pull(["hang"], cwd=cwd)
    with pytest.raises(AssertionError, match="still running"):
        run.finish(timeout=0.1)
    assert run.process.poll() is not None


def test_the_tree(cwd):
    (cwd / "a" / "empty").mkdir(parents=True)
    (cwd / "a" / "f").write_bytes(b"12345")
    (cwd / ".hidden").touch()
    (cwd / "link").symlink_to("a")
    assert tree_of(cwd) == {".hidden": 0, "a/f": 5, "link": 1}
