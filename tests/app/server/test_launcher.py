"""A launched module runs as `python -m` runs it, and garbage is searched for seldom."""

import os
import subprocess
from pathlib import Path

from app.server.launcher import command
from tangent_composer.garbage import THRESHOLDS

MODULE = """
import gc, sys

thresholds = gc.get_threshold()

def main():
    print(*sys.argv, thresholds)
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
    assert done.stdout == f"launched_here one two {THRESHOLDS}\n"


def test_a_module_that_does_not_load_ends_the_process_with_its_error(tmp_path):
    (tmp_path / "broken_here.py").write_text("raise RuntimeError('it is broken')\n")
    done = launched(tmp_path, "broken_here")
    assert done.returncode == 1
    assert done.stderr.endswith("RuntimeError: it is broken\n")
