"""The record of a component's parents: records that a file may contain, and refused ones."""

import dataclasses
import json

import pytest
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import tangent
from tangent.components.lineage import Derivation
from tangent.errors import BadComponent
from tests.support.models import trained

A, B = "a" * 64, "b" * 64
RECORD = Derivation("ties", {"density": 0.2}, ((A, None), (B, 2.0)), (A, B))


def made(scope: str) -> tangent.Component:
    return dataclasses.replace(trained(scope), statistics=None, derived=RECORD, hyperparameters={})


@pytest.mark.parametrize("scope", ["head", "last-block"])
def test_a_file_with_a_record_is_read_back_to_the_same_bytes(scope, tmp_path):
    sha256 = made(scope).save(tmp_path / "c")
    again = tangent.Component.load(tmp_path / "c")
    assert again.derived == RECORD and again.save(tmp_path / "d") == sha256


def test_a_component_without_parents_has_no_record_in_its_file(tmp_path):
    path = tmp_path / "c"
    trained("last-block").save(path)
    with safe_open(path, "pt") as file:
        assert "derived" not in json.loads(file.metadata()["tangent"])
    assert tangent.Component.load(path).derived is None


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"parents": None}, "not readable"),
        ({"parents": [{"sha256": A}]}, "not readable"),
        ({"operator": 3}, "operator is no text"),
        ({"parameters": []}, "parameters no object"),
        ({"parents": [{"sha256": "x", "weight": None}]}, "not named by SHA-256"),
        ({"ancestors": [A, 5]}, "not named by SHA-256"),
        ({"parents": [{"sha256": A, "weight": "1"}]}, "not a finite number"),
        ({"parents": [{"sha256": A, "weight": float("inf")}]}, "not a finite number"),
        ({"parents": [{"sha256": A, "weight": float("nan")}]}, "not a finite number"),
        ({"parents": [{"sha256": A, "weight": -(10**400)}]}, "not a finite number"),
        ({"parents": [{"sha256": A, "weight": True}]}, "not a finite number"),
        ({"parents": []}, "has no parents"),
        ({"ancestors": [A]}, "one that is no ancestor"),
        ({"ancestors": [B, A]}, "not sorted"),
        ({"ancestors": [A, A, B]}, "not sorted"),
    ],
)
def test_a_record_that_does_not_hold_together_is_refused(change, sentence):
    with pytest.raises(BadComponent, match=sentence):
        Derivation.read(RECORD.as_dict() | change)


@pytest.mark.parametrize("given", [None, [], "ties", 3])
def test_a_value_that_is_no_record_is_refused(given):
    with pytest.raises(BadComponent, match="not readable"):
        Derivation.read(given)


def test_statistics_beside_a_record_are_refused(tmp_path):
    path = tmp_path / "c"
    trained("head").save(path)
    with safe_open(path, "pt") as file:
        about = json.loads(file.metadata()["tangent"])
    about["derived"] = RECORD.as_dict()
    save_file(load_file(path), path, {"tangent": json.dumps(about)})
    with pytest.raises(BadComponent, match="cannot have statistics of its own data"):
        tangent.Component.load(path)
