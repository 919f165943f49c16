"""The commands for training where the data lies, beside a service and away from it."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tangent_composer.cli.program import main
from tangent_composer.schemas.components import ImportedComponent
from tests.support.local_training import as_folder, require_network_namespaces
from tests.support.splits import files_of

ROOT = Path(__file__).resolve().parents[3]
FILES = files_of({"": {"cat": 6, "dog": 4}})


@pytest.fixture
def tangent(service, capsys, monkeypatch):
    """Runs a command; returns its status, its output and its errors."""
    monkeypatch.setenv("TANGENT_URL", service.url)

    def run(*arguments: object) -> tuple[int, str, str]:
        status = main([str(each) for each in arguments])
        return status, *capsys.readouterr()

    return run


@pytest.fixture
def card(tangent, tmp_path) -> Path:
    assert tangent("space", "get", "-o", tmp_path / "space.card")[0] == 0
    return tmp_path / "space.card"


@pytest.fixture
def data(tmp_path) -> Path:
    return as_folder(FILES, tmp_path / "data")


def test_the_card_is_the_service_s_and_comes_whole_or_not_at_all(service, tangent, card, tmp_path):
    answer = service.client.get("/v1/spaces/default/card")
    assert card.read_bytes() == answer.content
    status, _, told = tangent("space", "get", "none", "-o", tmp_path / "other.card")
    assert status == 2 and "no space 'none' exists" in told
    assert not list(tmp_path.glob("other*"))
    status, _, told = tangent("space", "get", "-o", tmp_path / "no" / "space.card")
    assert status == 2 and "cannot be written" in told


def test_a_component_trained_in_a_namespace_without_a_route_is_imported_once(
    tangent, card, data, tmp_path, service
):
    require_network_namespaces()
    file = tmp_path / "north.safetensors"
    command = ["-m", "tangent_composer.cli", "fit", "--space", card, "--data", data, "-o", file]
    line = ["unshare", "-rn", sys.executable, *map(str, command), "--threads", "1", "--json"]
    answer = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert answer.returncode == 0, answer.stderr
    made = json.loads(answer.stdout)
    assert made["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert made["same_bits"] and made["labels"] == {"cat": 6, "dog": 4}

    shown = [tangent("import", file, "--json") for _ in range(2)]
    assert [status for status, *_ in shown] == [0, 0]
    first, again = (ImportedComponent.model_validate_json(out) for _, out, _ in shown)
    assert (first.id, first.sha256) == (again.id, made["sha256"])
    assert (first.metrics_by, first.name) == ("party", "north")
    own = service.component({"cat": 6, "dog": 4}, start=50)
    answers = []
    for each in (first.id, own):
        body = {"content": FILES["cat/0.png"], "headers": {"Content-Type": "image/png"}}
        asked = service.client.post("/v1/predictions", params={"components": each}, **body)
        answers.append(asked.json()["results"][0]["label"])
    assert answers == ["cat", "cat"]


def test_what_leaves_is_told_and_a_small_label_is_an_answer_of_no(tangent, card, data, tmp_path):
    file = tmp_path / "a.safetensors"
    given = ("--space", card, "--data", data, "-o", file)
    assert tangent("fit", *given, "--set", "l2=0.01", "--no-metrics")[0] == 0
    status, told, notes = tangent("what-leaves", file)
    assert status == 0
    assert "the Gram matrix" in told and "delta.head" in told
    assert "label 'dog' has 4 images" in notes
    assert tangent("what-leaves", file, "--min-per-label", 5)[0] == 1
    status, _, told = tangent("fit", *given[:-1], tmp_path / "b.safetensors", "--min-per-label", 5)
    assert status == 1 and "'dog' has 4" in told
    assert not (tmp_path / "b.safetensors").exists()
    small = tmp_path / "small.safetensors"
    assert tangent("what-leaves", file, "--without-statistics", small)[0] == 0
    assert small.stat().st_size < file.stat().st_size / 2


def test_a_private_training_says_what_it_promises(tangent, card, data, tmp_path):
    given = ("--space", card, "--data", data, "-o", tmp_path / "p.safetensors")
    status, _, notes = tangent("fit", *given, "--epsilon", 8)
    assert status == 0 and "factor of e^8" in notes
    status, _, told = tangent("fit", *given, "--epsilon", 8, "--unit", "group")
    assert status == 2 and "no training image has a group" in told


def test_what_cannot_be_done_is_one_line(tangent, card, data, tmp_path):
    status, _, told = tangent("fit", "--space", data / "cat" / "0.png", "--data", data)
    assert status == 2 and told.count("\n") == 1 and "no card of a space" in told
    status, _, told = tangent("fit", "--space", card, "--data", tmp_path / "none")
    assert status == 2 and told.count("\n") == 1
    (tmp_path / "x.safetensors").write_bytes(b"x")
    assert (
        "not a readable safetensors file" in tangent("what-leaves", tmp_path / "x.safetensors")[2]
    )
    assert tangent("import", tmp_path / "none.safetensors")[0] == 2
