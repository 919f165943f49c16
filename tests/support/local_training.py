"""Trainings without a service: a card on disk, folders of images, the trainer's arguments."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import tangent
from tangent.spaces.card import write_card
from training_worker.local.training import LocalComponent, LocalTraining, train

Files = Mapping[str, bytes]  # paths in an archive


def as_folder(files: Files, folder: Path) -> Path:
    """Write the files below the folder; return it."""
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def card_of(space: tangent.Space, folder: Path, name: str = "default") -> Path:
    write_card(space, name, folder / "space.card")
    return folder / "space.card"


def trained(card: Path, data: Path, folder: Path, **more: Any) -> LocalComponent:
    return train(LocalTraining(card, data, folder / "component.safetensors", threads=1, **more))


def require_network_namespaces() -> None:
    """Skip where a process cannot be cut off from every network; fail in CI."""
    command = shutil.which("unshare")
    made = command and subprocess.run([command, "-rn", "true"], capture_output=True, text=True)
    if made and made.returncode == 0:
        return
    why = made.stderr.strip() if made else "there is no `unshare`"
    if os.environ.get("CI") == "true":
        pytest.fail(f"CI must run this test without a network, but it cannot: {why}")
    pytest.skip(f"no process can be cut off from the network here: {why}")
