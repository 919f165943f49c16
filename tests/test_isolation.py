"""What one test does to its process does not reach the next one, nor another installation."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tangent_composer.environment import put_first_on_path
from tests.support.installations import run

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("turn", ["first", "second"])
def test_a_change_of_the_environment_ends_with_its_test(turn: str, tmp_path: Path) -> None:
    assert "PYTHONSAFEPATH" not in os.environ
    put_first_on_path(tmp_path)


def test_a_program_of_another_installation_finds_what_lies_beside_it(tmp_path: Path) -> None:
    (tmp_path / "beside.py").write_text("WORD = 'found'")
    (tmp_path / "program.py").write_text("from beside import WORD\nprint(WORD)")
    put_first_on_path(tmp_path / "elsewhere")
    assert run(Path(sys.executable), "program.py", cwd=tmp_path) == "found\n"


@pytest.mark.parametrize(("deadline", "told"), [("1", "1 skipped"), ("1e12", "1 passed")])
def test_what_begins_after_the_deadline_is_skipped(
    deadline: str, told: str, tmp_path: Path
) -> None:
    own = f"{__file__}::test_a_program_of_another_installation_finds_what_lies_beside_it"
    command = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", own)
    environment = {**os.environ, "TEST_DEADLINE": deadline}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert told in done.stdout
