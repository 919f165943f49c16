"""What one test does to its process does not reach the next one, nor another installation."""

import os
import sys
from pathlib import Path

import pytest
import torch

from tangent_composer.environment import put_first_on_path
from tests.support.installations import run


@pytest.mark.parametrize("turn", ["first", "second"])
def test_a_change_of_the_environment_ends_with_its_test(turn: str, tmp_path: Path) -> None:
    assert "PYTHONSAFEPATH" not in os.environ
    put_first_on_path(tmp_path)


def test_a_program_of_another_installation_finds_what_lies_beside_it(tmp_path: Path) -> None:
    (tmp_path / "beside.py").write_text("WORD = 'found'")
    (tmp_path / "program.py").write_text("from beside import WORD\nprint(WORD)")
    put_first_on_path(tmp_path / "elsewhere")
    assert run(Path(sys.executable), "program.py", cwd=tmp_path) == "found\n"


@pytest.fixture
def drawn() -> torch.Tensor:
    return torch.rand(3)


@pytest.mark.parametrize("turn", ["first", "second"])
def test_random_numbers_do_not_depend_on_the_tests_before(turn: str, drawn: torch.Tensor) -> None:
    expected = torch.rand(3, generator=torch.Generator().manual_seed(0))
    assert torch.equal(drawn, expected)
    assert torch.equal(torch.rand(3), expected)
