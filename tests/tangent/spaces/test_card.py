"""A space's card: another machine opens the same space from it, or is told why it cannot."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

import tangent
from tangent.backbones.features import FINE
from tangent.errors import (
    BackboneUnavailable,
    BadCard,
    FingerprintMismatch,
    ProbeMismatch,
    TangentError,
)
from tangent.spaces.card import KEY, open_card, read_card, write_card
from tests.support.models import images, space

SPACES = [("vit_micro_32", "head"), ("resnet_micro_32", "head2toe"), ("vit_micro_32", "last-block")]


@pytest.fixture(scope="module")
def opened() -> tangent.Space:
    return tangent.open_space("vit_micro_32", "head", ["left", "right"])


@pytest.fixture
def card(opened: tangent.Space, tmp_path: Path) -> Path:
    path = tmp_path / "space.card"
    write_card(opened, "scans", path)
    return path


def changed(path: Path, *, about: dict | None = None, tensors: dict | None = None) -> Path:
    """Write the card again with other metadata or tensors."""
    with safe_open(path, framework="pt") as file:
        old = json.loads(file.metadata()[KEY])
        held = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    metadata = {KEY: json.dumps(old | (about or {}))}
    save_file(held | (tensors or {}), path, metadata)
    return path


@pytest.mark.parametrize(("backbone", "scope"), SPACES)
def test_a_card_opens_as_the_space_that_it_was_written_of(backbone, scope, tmp_path):
    original = tangent.open_space(backbone, scope, ["left"])
    write_card(original, "scans", tmp_path / "a")
    copy, same_bits = open_card(read_card(tmp_path / "a"))

    x = images(original.image_size, 5)
    assert same_bits
    assert copy.fingerprint == original.fingerprint
    assert torch.equal(copy.rows(x), original.rows(x))
    assert copy.preprocess.geometry == original.preprocess.geometry
    assert (copy.declared, copy.license) == (("left",), "apache-2.0")


def test_the_same_space_gives_the_same_bytes_and_a_copy_of_it_too(opened, card, tmp_path):
    again = write_card(opened, "scans", tmp_path / "b")
    copy, _ = open_card(read_card(card))
    assert write_card(copy, "scans", tmp_path / "c") == again
    assert card.read_bytes() == (tmp_path / "b").read_bytes() == (tmp_path / "c").read_bytes()


def test_a_card_says_what_its_space_is_without_its_weights_being_read(opened, card):
    said = read_card(card)
    assert (said.name, said.backbone, said.scope) == ("scans", "vit_micro_32", "head")
    assert said.fingerprint == opened.fingerprint
    assert said.declared_labels == ["left", "right"]
    assert said.linear and said.steps == sorted(set(opened.grid.steps.tolist()))
    assert (said.image_size, said.features) == (32, 129)
    assert said.license == "apache-2.0"


def test_other_weights_under_the_same_fingerprint_are_found_before_a_training(card):
    with safe_open(card, framework="pt") as file:
        weight = file.get_tensor("backbone.norm.weight")
    changed(card, tensors={"backbone.norm.weight": weight * 1.5})
    with pytest.raises(FingerprintMismatch, match="nothing trained here would fit"):
        open_card(read_card(card))


def test_a_machine_that_answers_the_probe_otherwise_is_told_so(card):
    with safe_open(card, framework="pt") as file:
        probe = file.get_tensor("probe")
    changed(card, tensors={"probe": probe * 1.05})
    with pytest.raises(ProbeMismatch, match="answers the card's probe otherwise"):
        open_card(read_card(card))


def test_a_machine_with_other_roundings_may_train_and_knows_that_its_bits_differ(card):
    with safe_open(card, framework="pt") as file:
        probe = file.get_tensor("probe")
    changed(card, tensors={"probe": probe * (1 + 1e-6)})
    _, same_bits = open_card(read_card(card))
    assert not same_bits


@pytest.mark.parametrize(
    ("about", "words"),
    [
        ({"format": 9}, "format 9"),
        ({"scope": "elbow"}, "no scope is called"),
        ({"declared_labels": None}, "no 'declared_labels'"),
        ({"architecture": 7}, "no 'architecture'"),
        ({"image_size": True}, "no 'image_size'"),
    ],
)
def test_metadata_that_no_card_has_is_refused(card, about, words):
    with pytest.raises(BadCard, match=words):
        read_card(changed(card, about=about))


def test_files_that_are_no_card_are_refused_with_the_command_that_gets_one(card, tmp_path):
    (tmp_path / "text").write_text("hello")
    with pytest.raises(BadCard, match="no card of a space"):
        read_card(tmp_path / "text")
    save_file({"a": torch.zeros(2)}, tmp_path / "other")
    with pytest.raises(BadCard, match="tangent space get"):
        read_card(tmp_path / "other")
    card.write_bytes(card.read_bytes()[:-10])
    with pytest.raises(BadCard, match="cut off"):
        read_card(card)


@pytest.mark.parametrize("name", ["no_such_net", "resnet18", "resnet_micro_32"])
def test_an_architecture_that_does_not_take_the_weights_is_refused(card, name):
    changed(card, about={"architecture": name})
    with pytest.raises(TangentError, match=name):
        open_card(read_card(card))


@pytest.mark.parametrize(
    "name",
    [
        *("hf-hub:evil/model", "hf_hub:evil/resnet18", "local-dir:/tmp/x", "timm/resnet18"),
        *("resnet18:a", "", "resnet18\n", "rešnet18", "https://evil/resnet18"),
    ],
)
def test_a_card_names_an_architecture_of_timm_and_nothing_to_fetch(card, name, monkeypatch):
    asked: list[object] = []
    monkeypatch.setattr("socket.socket.connect", lambda *given: asked.append(given))
    monkeypatch.setattr("socket.getaddrinfo", lambda *given, **_: asked.append(given) or [])
    said = read_card(card)
    with pytest.raises(BackboneUnavailable, match="timm has no architecture"):
        open_card(replace(said, architecture=name))
    with pytest.raises(BackboneUnavailable, match="timm has no architecture"):
        read_card(changed(card, about={"architecture": name}))
    assert asked == []


def test_a_backbone_that_no_name_builds_has_no_card(tmp_path):
    with pytest.raises(BadCard, match="no name by which timm builds it"):
        write_card(space("mini", "head"), "scans", tmp_path / "a")


def test_a_card_of_a_space_that_an_earlier_version_made_opens_on_its_finer_grid(tmp_path):
    older = tangent.Space(tangent.load_backbone("vit_micro_32"), "head2toe", grid=FINE)
    write_card(older, "scans", tmp_path / "a")
    copy, same_bits = open_card(read_card(tmp_path / "a"))

    assert same_bits and copy.fingerprint == older.fingerprint and copy.stored_grid is None
