"""How the process ends: at once, and nobody misses anything."""

import os
import subprocess
import sys
import textwrap

import pytest

PRELUDE = "import sys; from s3pull import __main__; __main__.command = lambda: {command}\n"


def ended(script, command="7", **options):
    code = PRELUDE.format(command=command) + textwrap.dedent(script) + "\n__main__.main()\n"
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    options["env"] = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    return subprocess.run([sys.executable, "-c", code], text=True, timeout=60, **options)


def test_python_is_not_taken_apart():
    done = ended("""
        class Last:
            def __del__(self): print("taken apart")
        kept = Last()
    """)
    assert (done.returncode, done.stdout, done.stderr) == (7, "", "")


def test_what_was_written_is_there(tmp_path):
    with (tmp_path / "out").open("w") as out:
        done = ended("", command="sys.stdout.write('x' * 5000) and sys.stderr.write('said') and 0", stdout=out)
    assert (done.returncode, (tmp_path / "out").read_text(), done.stderr) == (0, "x" * 5000, "said")


def test_who_wants_to_be_called_at_the_end_is():
    done = ended("import atexit; atexit.register(print, 'called')")
    assert (done.returncode, done.stdout) == (7, "called\n")


def test_a_thread_that_is_to_be_waited_for_is():
    done = ended("""
        import threading, time
        threading.Thread(target=lambda: (time.sleep(0.3), print("done"))).start()
    """)
    assert (done.returncode, done.stdout) == (7, "done\n")


def test_a_daemon_is_not():
    done = ended("""
        import threading, time
        threading.Thread(target=time.sleep, args=(50,), daemon=True).start()
    """)
    assert done.returncode == 7


def test_who_measures_is_not_cut_off(tmp_path):
    script = "import sys; from s3pull import __main__; __main__.command = lambda: 0; __main__.main()"
    (tmp_path / "script.py").write_text(script)
    done = subprocess.run(
        [sys.executable, "-m", "cProfile", tmp_path / "script.py"], capture_output=True, text=True, timeout=60
    )
    assert "function calls" in done.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="a pipe tells otherwise there")
def test_output_that_nobody_takes_is_told_as_python_tells_it():
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w") as out:
        done = ended("", command="sys.stdout.write('x') and 0", stdout=out)
    assert done.returncode == 120
    assert "BrokenPipeError" in done.stderr


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_stream_that_is_not_there_is_no_error(stream):
    assert ended(f"sys.{stream} = None").returncode == 7


def test_a_stream_that_is_closed_is_no_error():
    assert ended("sys.stdout.close()").returncode == 7
