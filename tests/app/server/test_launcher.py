"""A launched module runs as `python -m` runs it; nothing is searched through while it loads."""

import gc
import os
import subprocess
from pathlib import Path

import pytest

from app.server.garbage import loading
from app.server.launcher import command

MODULE = """
import gc, sys

searched = gc.isenabled()
kept = [[] for _ in range(5000)]

def main():
    frozen = gc.get_freeze_count() > len(kept)
    print(*sys.argv, searched, gc.isenabled(), frozen)
    return 7
"""


def launched(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    path = os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        command(*arguments),
        env=os.environ | {"PYTHONPATH": path},
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_it_has_its_arguments_and_gives_its_status(tmp_path):
    (tmp_path / "launched_here.py").write_text(MODULE)
    done = launched(tmp_path, "launched_here", "one", "two")
    assert (done.returncode, done.stderr) == (7, "")
    assert done.stdout == "launched_here one two False True True\n"


def test_a_module_that_does_not_load_ends_the_process_with_its_error(tmp_path):
    (tmp_path / "broken_here.py").write_text("raise RuntimeError('it is broken')\n")
    done = launched(tmp_path, "broken_here")
    assert done.returncode == 1
    assert done.stderr.endswith("RuntimeError: it is broken\n")


def test_garbage_is_searched_for_again_when_loading_fails():
    with pytest.raises(ImportError, match="not there"), loading():
        raise ImportError("not there")
    assert gc.isenabled()
