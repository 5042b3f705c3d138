"""How seldom Python looks for garbage: in both processes of a run, what was loaded is never looked at."""

import subprocess
import sys

from s3pull.pull import spare

TOLD = "print(gc.isenabled(), gc.get_threshold()[0], gc.get_freeze_count() > 10_000, flush=True)"


def told(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    return done.stdout


def test_the_command():
    code = f"import gc; from s3pull.cli import app; app.main = lambda: {TOLD}\n"
    code += "from s3pull import __main__; __main__.command()"
    assert told(code) == "True 20000 True\n"


def test_the_second_process():
    start = spare._START.format(sys.path)
    code = f"import gc; from s3pull.pull import mate_process; mate_process._work = lambda: {TOLD}\n{start}"
    assert told(code) == "True 20000 True\n"


def test_what_is_made_later_and_lost_is_found():
    code = """
import gc, weakref
from s3pull import garbage
garbage.loading()
class Ring:
    def __init__(self): self.own = self
early = weakref.ref(Ring())
garbage.loaded()
late = weakref.ref(Ring())
kept = [[] for _ in range(50_000)]
print(early() is None, late() is None)
"""
    assert told(code) == "False True\n"
