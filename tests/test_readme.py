"""The README's shell and Python blocks run, in order, against a real service."""

import os
import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from app.demo.service import started

README = Path(__file__).resolve().parent.parent / "README.md"
ADDRESS = "http://127.0.0.1:8000"


def blocks(language: str) -> list[str]:
    """The README's fenced blocks in that language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README.read_text(), re.M | re.S)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """An empty folder with this environment under the name that the README uses."""
    folder = tmp_path_factory.mktemp("readme")
    (folder / ".venv").symlink_to(sys.prefix, target_is_directory=True)
    return folder


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    """A service as `tangent serve` starts it, worker and all."""
    with started(tmp_path_factory.mktemp("service")) as address:
        yield address


def run(command: list[str], place: Path) -> str:
    """Run the command, which must succeed; return its output."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("TANGENT_")}
    answer = subprocess.run(
        command, cwd=place, env=environment, capture_output=True, text=True, timeout=240
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return answer.stdout


def test_the_walk_with_curl_gets_from_an_upload_to_a_verified_deletion(url, place):
    (walk,) = blocks("bash")
    assert ADDRESS in walk
    printed = run(["bash", "-euo", "pipefail", "-c", walk.replace(ADDRESS, url)], place)
    assert '"status":"ready"' in printed.replace(" ", "")
    assert '"ok":true' in printed
    assert "component_deleted" in printed
    last = printed[printed.rindex('"results"') :]
    assert {label for label in "0123456789" if f'"label":"{label}"' in last} == {"2", "3"}


def test_the_python_example_runs_as_it_is_shown(url, place):
    (example,) = blocks("python")
    run([sys.executable, "-m", "app.demo", "--write", "digits"], place)
    printed = run([sys.executable, "-c", example.replace(ADDRESS, url)], place)
    assert printed.startswith("ready {")
    assert "'ok': True" in printed
    known = httpx.get(f"{url}/v1/spaces/default", timeout=30).json()["labels"]
    assert not {"4", "5"} & set(known)
