"""The page on training where the data lies runs, command by command, against a real service."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from app.cli.demo.service import started

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "local-training.md").read_text()


def blocks(language: str) -> list[str]:
    """The page's fenced blocks in that language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.M | re.S)


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    with started(tmp_path_factory.mktemp("service")) as address:
        yield address


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """An empty folder, with the command `tangent` of this checkout."""
    folder = tmp_path_factory.mktemp("page")
    (folder / "bin").mkdir()
    command = folder / "bin" / "tangent"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m tangent_composer.cli "$@"\n')
    command.chmod(0o755)
    return folder


def run(command: list[str], place: Path, url: str) -> str:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("TANGENT_")}
    environment |= {
        "PATH": f"{place / 'bin'}:{environment['PATH']}",
        "PYTHONPATH": str(ROOT),
        "TANGENT_URL": url,
        "XDG_CONFIG_HOME": str(place),
    }
    answer = subprocess.run(
        command, cwd=place, env=environment, capture_output=True, text=True, timeout=240
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return answer.stdout


def test_the_walk_gets_from_a_card_to_an_imported_component_once(url, place):
    (walk,) = blocks("sh")
    printed = run(["bash", "-euo", "pipefail", "-c", walk], place, url)
    shown = json.loads(printed[printed.rindex('{\n  "id"') :])
    listed = httpx.get(f"{url}/v1/components", timeout=30).json()["data"]
    assert [each["id"] for each in listed] == [shown["id"]]
    assert (shown["name"], shown["metrics_by"]) == ("clinic north", "party")
    assert shown["metrics"]["holdout_accuracy"] > 0.9
    assert "the Gram matrix" in printed


def test_the_python_example_gets_the_same_card(url, place):
    (example,) = blocks("python")
    before = (place / "space.card").read_bytes()
    run([sys.executable, "-c", example], place, url)
    assert (place / "space.card").read_bytes() == before
