"""A program of this project searches for garbage seldom, before it loads what it needs."""

import gc
import subprocess
import sys

import pytest

from tangent_composer.garbage import THRESHOLDS, seldom_while_loading

# What runs a program, up to its own command line; each prints the thresholds as it ends.
BY_CONSOLE = "from tangent_composer.cli.program import main; main(['serve', '--help'])"
BY_MODULE = (
    "import runpy; sys.argv[1:] = ['--version']; runpy.run_module('app.cli', run_name='__main__')"
)


@pytest.mark.parametrize("start", [BY_CONSOLE, BY_MODULE], ids=["tangent", "app.cli"])
def test_a_program_of_the_service_searches_seldom(start: str):
    code = f"import atexit, gc, sys\natexit.register(lambda: print(gc.get_threshold()))\n{start}"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines()[-1] == str(THRESHOLDS)


def test_what_only_imports_the_client_keeps_its_own_thresholds():
    code = "import gc; had = gc.get_threshold(); import tangent_composer; "
    code += "assert gc.get_threshold() == had"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_process_that_trains_searches_as_before_once_it_has_loaded():
    usual = gc.get_threshold()
    with pytest.raises(ImportError, match="not there"), seldom_while_loading():
        assert gc.get_threshold() == THRESHOLDS
        raise ImportError("not there")
    assert gc.get_threshold() == usual
