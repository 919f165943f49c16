"""A component's file: exact, the same bytes everywhere; any other file is refused."""

import dataclasses
import hashlib
import json
import os
import pickle
import struct
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save
from torch import Tensor

from tangent import RULES, Component, compose, errors
from tangent.components.component import CROSS, GRAM, HEAD, SUMS
from tangent.vocabulary import OF_STATISTICS
from tests.support.component_files import load, parts, plain, written
from tests.support.models import delta_bytes, images, space, trained

HERE = Path(__file__).parent
SCOPES = ("head", "head2toe", "last-block")
CHEAP = ("head", "last-block")
many = settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.mark.parametrize("scope", SCOPES)
def test_a_file_gives_back_the_component_bit_for_bit(scope, tmp_path):
    made = trained(scope)
    digest = made.save(tmp_path / "c.safetensors")
    found = Component.load(tmp_path / "c.safetensors")
    assert hashlib.sha256((tmp_path / "c.safetensors").read_bytes()).hexdigest() == digest
    assert [path.name for path in tmp_path.iterdir()] == ["c.safetensors"]
    for field in dataclasses.fields(Component):
        if field.name not in ("head", "backbone", "statistics"):
            assert getattr(found, field.name) == getattr(made, field.name)
    assert torch.equal(found.head, made.head) and found.head.dtype == made.head.dtype
    assert list(found.backbone) == list(made.backbone)
    for name, value in made.backbone.items():
        assert torch.equal(found.backbone[name], value)
        assert found.backbone[name].dtype == value.dtype
    assert found.statistics is not None
    assert (found.statistics.cross is None) == (scope != "last-block")
    if found.statistics is not None:
        assert torch.equal(found.statistics.gram, made.statistics.gram)
        assert torch.equal(found.statistics.sums, made.statistics.sums)
        assert found.statistics.counts == made.statistics.counts
    assert found.to_bytes() == made.to_bytes()


@pytest.mark.parametrize("scope", SCOPES)
def test_a_component_from_its_file_answers_as_the_one_in_memory(scope, tmp_path):
    made, where = trained(scope), space("mini", scope, ("owl",))
    made.save(tmp_path / "c.safetensors")
    found = Component.load(tmp_path / "c.safetensors")
    where.check(found)
    rules = [rule for rule in RULES if rule not in OF_STATISTICS or where.joint_is_exact]
    for rule in rules:
        weight = 0.7 if rule == "weighted" else None
        one, two = (compose(where, [(c, weight)], rule, shas=["0"]) for c in (made, found))
        assert delta_bytes(one) == delta_bytes(two)
        x = images(16, 3)
        assert torch.equal(where.logits(x, one), where.logits(x, two))


def test_the_file_says_what_the_documentation_says(tmp_path):
    about, tensors = parts(plain("head"), tmp_path)
    assert set(tensors) == {HEAD, GRAM, SUMS}
    assert about["format"] == 2
    assert about["labels"] == {"a/b": 1, "dog": 2, "größe": 2}
    assert about["head_labels"] == ["a/b", "dog", "größe", "owl"]
    assert about["seed"] == 7
    assert about["hyperparameters"]["beta"] == 15.0
    assert tensors[GRAM].shape == (9 * 10 // 2,)


def test_another_process_writes_the_same_bytes():
    code = (
        "import hashlib, torch; torch.set_num_threads(1)\n"
        "from tests.support.models import trained\n"
        f"for s in {CHEAP!r}: print(hashlib.sha256(trained(s).to_bytes()).hexdigest())"
    )
    search = os.pathsep.join([str(HERE.parents[2])])
    answer = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONHASHSEED": "4242", "PYTHONPATH": search},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert answer.returncode == 0, answer.stderr
    here = [hashlib.sha256(trained(scope).to_bytes()).hexdigest() for scope in CHEAP]
    assert answer.stdout.split() == here


def test_saving_replaces_the_file_whole(tmp_path):
    path = tmp_path / "c.safetensors"
    path.write_bytes(b"an older and longer file" * 1000)
    trained("head").save(path)
    assert path.read_bytes() == trained("head").to_bytes()


@many
@given(data=st.data())
def test_a_file_cut_short_is_refused(data, tmp_path):
    whole = trained("head").to_bytes()
    length = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(errors.BadComponent, match="not a readable safetensors file"):
        load(whole[:length], tmp_path)


@many
@given(junk=st.binary(max_size=300))
def test_random_bytes_are_refused(junk, tmp_path):
    with pytest.raises(errors.BadComponent, match="safetensors"):
        load(junk, tmp_path)


@many
@given(data=st.data())
def test_flipped_bytes_are_refused_or_read_as_a_sound_component(data, tmp_path):
    whole = bytearray(trained("head").to_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        whole[data.draw(st.integers(0, len(whole) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        found = load(bytes(whole), tmp_path)
    except errors.BadComponent:
        return
    assert torch.isfinite(found.head).all()
    assert load(found.to_bytes(), tmp_path).to_bytes() == found.to_bytes()


@many
@given(
    text=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    ),
    key=st.sampled_from(["format", "fingerprint", "scope", "labels", "head_labels", "seed", ""]),
)
def test_any_json_as_metadata_is_refused_or_read(text, key, tmp_path):
    about, tensors = parts(trained("head"), tmp_path)
    changed = about | {key: text} if key else text
    try:
        load(written(json.dumps(changed), tensors), tmp_path)
    except errors.BadComponent:
        return
    assert key in ("fingerprint", "scope", "seed") or changed == about


class Trap:
    """Unpickling it would write a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("form", ["pickle", "torch", "numpy"])
def test_a_pickle_is_refused_and_never_run(form, tmp_path):
    sprung, path = tmp_path / "sprung", tmp_path / "c.safetensors"
    if form == "pickle":
        path.write_bytes(pickle.dumps(Trap(sprung)))
    elif form == "torch":
        torch.save({HEAD: torch.zeros(1), "trap": Trap(sprung)}, path)
    else:
        path.write_bytes(b"\x93NUMPY\x01\x00v\x00" + pickle.dumps(Trap(sprung)))
    with pytest.raises(errors.BadComponent, match="not a readable safetensors file"):
        Component.load(path)
    assert not sprung.exists()


@pytest.mark.parametrize("length", [2**40, 2**63, 2**64 - 1, 200_000_000])
def test_a_header_said_to_be_huge_is_refused_at_once(length, tmp_path):
    with pytest.raises(errors.BadComponent, match="not a readable safetensors file"):
        load(struct.pack("<Q", length) + b"{" * 64, tmp_path)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(errors.BadComponent, match="not a readable safetensors file"):
            Component.load(path)


METADATA = {
    "other version": ({"format": 1}, "has format 1, this version reads 2, and 3 with a grid: tr"),
    "no fingerprint": ({"fingerprint": None}, "has no str 'fingerprint'"),
    "labels as a list": ({"labels": ["dog"]}, "has no dict 'labels'"),
    "no labels": ({"labels": {}}, "positive number of images"),
    "no images": ({"labels": {"dog": 0}}, "positive number of images"),
    "half an image": ({"labels": {"dog": 0.5}}, "positive number of images"),
    "true images": ({"labels": {"dog": True}}, "positive number of images"),
    "too many images": ({"labels": {"dog": 10**400}}, "positive number of images"),
    "unsorted": ({"head_labels": ["b", "a"]}, "not sorted and distinct"),
    "twice": ({"head_labels": ["a", "a"]}, "not sorted and distinct"),
    "numbers": ({"head_labels": [1, 2]}, "not sorted and distinct"),
    "half a character": ({"head_labels": ["\udcff"]}, "cannot be written as JSON"),
    "label without a row": ({"labels": {"newt": 3}}, "a label without a head row"),
    "text for a seed": ({"seed": "7"}, "has no int 'seed'"),
    "true for a seed": ({"seed": True}, "has no int 'seed'"),
    "half a character for a scope": ({"scope": "\udfff"}, "cannot be written as JSON"),
    "a long scope": ({"scope": "last-block" * 100_000}, "^no scope is called .{0,60}$"),
    "settings as a list": ({"hyperparameters": []}, "has no dict 'hyperparameters'"),
    "no beta": ({"hyperparameters": {"l2": 1.0}}, "beta is not a number from 0.001 to 10000"),
    "text for beta": ({"hyperparameters": {"beta": "x", "l2": 1}}, "beta is not a number"),
    "NaN": ({"hyperparameters": {"beta": 1, "l2": float("nan")}}, "cannot be written as JSON"),
    "huge": ({"hyperparameters": {"beta": 10**400, "l2": 1}}, "beta is not a number from"),
    "negative": ({"hyperparameters": {"beta": 1, "l2": -1}}, "l2 is not a number from"),
}


@pytest.mark.parametrize(("change", "sentence"), METADATA.values(), ids=METADATA)
def test_wrong_metadata_is_refused_with_its_reason(change, sentence, tmp_path):
    about, tensors = parts(trained("head"), tmp_path)
    with pytest.raises(errors.BadComponent, match=sentence):
        load(written(about | change, tensors), tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "null", '"format"', "{}", "[" * 200_000])
def test_metadata_that_is_no_object_of_ours_is_refused(text, tmp_path):
    _, tensors = parts(trained("head"), tmp_path)
    with pytest.raises(errors.BadComponent, match="has no `tangent` metadata"):
        load(written(text, tensors), tmp_path)


def test_a_plain_safetensors_file_is_refused(tmp_path):
    with pytest.raises(errors.BadComponent, match="has no `tangent` metadata: it is not a comp"):
        load(save({HEAD: torch.zeros(1, 9)}), tmp_path)


def spoilt(value: float, like: Tensor) -> Tensor:
    like = like.clone()
    like.view(-1)[1] = value
    return like


TENSORS = {
    "no head": ({HEAD: None}, "must have one row for each of the head's labels"),
    "flat head": ({HEAD: torch.zeros(36)}, "must have one row for each"),
    "rows missing": ({HEAD: torch.zeros(3, 9)}, "must have one row for each"),
    "whole numbers": ({HEAD: torch.zeros(4, 9, dtype=torch.int64)}, "no 16, 32 or 64 bit floats"),
    "eight bits": ({HEAD: torch.zeros(4, 9).to(torch.float8_e4m3fn)}, "no 16, 32 or 64 bit float"),
    "NaN": ({HEAD: spoilt(float("nan"), torch.zeros(4, 9))}, "delta.head holds NaN, Inf"),
    "Inf": ({SUMS: spoilt(float("inf"), torch.zeros(3, 9))}, "statistics.sums holds NaN, Inf"),
    "NaN unread": ({"x": spoilt(float("nan"), torch.zeros(2))}, "tensor x holds NaN, Inf"),
    "no gram": ({GRAM: None}, "statistics.gram must hold the 45 entries of a triangle"),
    "square gram": ({GRAM: torch.zeros(9, 9)}, "must hold the 45 entries of a triangle"),
    "no sums": ({SUMS: None}, r"statistics.sums must have the shape \(3, 9\)"),
    "rounded head": ({HEAD: torch.zeros(4, 9)}, "delta.head must hold 64 bit floats"),
    "rounded gram": ({GRAM: torch.zeros(45)}, "statistics.gram must hold 64 bit floats"),
    "rounded sums": ({SUMS: torch.zeros(3, 9).half()}, "statistics.sums must hold 64 bit floats"),
    "sums of others": ({SUMS: torch.zeros(4, 9)}, r"must have the shape \(3, 9\)"),
}


@pytest.mark.parametrize(("change", "sentence"), TENSORS.values(), ids=TENSORS)
def test_wrong_tensors_are_refused_with_their_name(change, sentence, tmp_path):
    about, tensors = parts(plain("head"), tmp_path)
    changed = {key: value for key, value in (tensors | change).items() if value is not None}
    with pytest.raises(errors.BadComponent, match=sentence):
        load(written(about, changed), tmp_path)


def test_a_component_of_a_block_scope_may_do_without_what_the_joint_rule_needs(tmp_path):
    about, tensors = parts(trained("last-block"), tmp_path)
    bare = {name: v for name, v in tensors.items() if name not in (GRAM, SUMS, CROSS)}
    found = load(written(about | {"hyperparameters": {}}, bare), tmp_path)
    assert found.statistics is None
