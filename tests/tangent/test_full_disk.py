"""A full disk is an error in time: no process is killed by it, and no part of a file stays."""

import errno
import os
from pathlib import Path

import pytest
import torch

from tangent.training.scratch_files import mapped_file
from tests.support.random_components import components


def full(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_component_that_cannot_be_saved_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
):
    made = components("head")[0]
    monkeypatch.setattr(*((os, "fsync") if step == "fsync" else (Path, "replace")), full)
    with pytest.raises(OSError, match="No space left"):
        made.save(tmp_path / "a.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_a_mapped_file_has_its_room_on_the_disk_before_a_number_is_written(tmp_path: Path):
    numbers = mapped_file(tmp_path / "rows", 300_000, torch.float32)
    assert numbers.shape == (300_000,) and not numbers.any()
    assert (tmp_path / "rows").stat().st_blocks * 512 >= 1_200_000
    numbers[7] = 2.5
    assert mapped_again(tmp_path / "rows")[7] == 2.5


def mapped_again(path: Path) -> torch.Tensor:
    return torch.frombuffer(bytearray(path.read_bytes()), dtype=torch.float32)


def test_a_mapped_file_without_room_is_an_error_and_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space left"):
        mapped_file(tmp_path / "rows", 10, torch.float32)
    assert list(tmp_path.iterdir()) == []
