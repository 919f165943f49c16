"""All that is in a component's file is told in words, and nothing that is not."""

import dataclasses
from pathlib import Path

import pytest
from safetensors import safe_open

import tangent
from tangent.components.disclosure import disclosed
from tangent.components.lineage import Derivation
from tangent.components.without_statistics import write_without_statistics
from tests.support.random_components import components


def tensors_of(path: Path) -> set[str]:
    with safe_open(path, framework="pt") as file:
        return set(file.keys())


@pytest.mark.parametrize("scope", ["head", "last-block"])
def test_every_tensor_and_every_member_of_the_metadata_is_told(scope, tmp_path):
    path = tmp_path / "a.safetensors"
    component = components(scope)[0]
    component.save(path)
    told = disclosed(path)
    assert {each.name for each in told.tensors} == tensors_of(path)
    assert all(each.words and each.bytes > 0 for each in told.tensors)
    assert not any("does not know" in each.words for each in told.tensors)
    held = {"fingerprint", "scope", "labels", "head_labels", "hyperparameters", "seed"}
    assert {each.name for each in told.metadata} == held
    assert told.bytes == path.stat().st_size > sum(each.bytes for each in told.tensors)
    assert told.labels == component.labels and told.statistics


def saved(tmp_path: Path, **changed) -> Path:
    path = tmp_path / "b.safetensors"
    dataclasses.replace(components("head")[0], **changed).save(path)
    return path


def test_the_smallest_label_is_named_and_labels_of_few_images_are_warned_of(tmp_path):
    told = disclosed(saved(tmp_path, labels={"cat": 40, "dog": 1}))
    assert (told.smallest_label, told.smallest_images) == ("dog", 1)
    assert told.warnings[0] == "label 'dog' has 1 image: the features of its one image"
    assert not any("'cat'" in each for each in told.warnings)
    assert any("'cat' has 40 images" in each for each in disclosed(Path(told.file), 50).warnings)


def test_a_file_without_statistics_tells_of_none(tmp_path):
    path = saved(tmp_path)
    with path.open("rb") as whole, (tmp_path / "bare").open("wb") as bare:
        write_without_statistics(whole, bare)
    told = disclosed(tmp_path / "bare")
    assert [each.name for each in told.tensors] == ["delta.head"]
    assert not told.statistics
    assert not any("Gram" in each.words for each in told.tensors)


def test_a_private_file_tells_its_promise_and_not_its_labels_as_a_danger(tmp_path):
    terms = tangent.Privacy.resolve({"epsilon": 3.0, "delta": 1e-5}, ["cat", "dog"])
    told = disclosed(saved(tmp_path, labels={"cat": 1, "dog": 1}, privacy=terms.as_dict()))
    assert told.privacy["epsilon"] == 3.0
    assert len(told.warnings) == 1 and "factor of e^3" in told.warnings[0]
    assert all("noise" in each.words for each in told.tensors)


def test_a_file_that_is_private_for_groups_counts_groups(tmp_path):
    given = {"epsilon": 3.0, "delta": 1e-5, "unit": "group"}
    terms = tangent.Privacy.resolve(given, ["cat", "dog"]).as_dict()
    told = disclosed(saved(tmp_path, privacy=terms))
    words = {each.name: each.words for each in [*told.tensors, *told.metadata]}
    assert "how many groups each has, with noise" in words["labels"]
    assert "its groups' feature vectors" in words["statistics.sums"]
    assert "over all groups" in words["statistics.gram"]


def test_a_file_made_of_others_says_so(tmp_path):
    made = Derivation("task_arithmetic", {}, (("0" * 64, 1.0),), ("0" * 64,))
    told = disclosed(saved(tmp_path, derived=made, statistics=None))
    assert told.smallest_label is None
    assert "made of other components" in told.warnings[0]


def test_a_file_that_is_no_component_is_refused(tmp_path):
    (tmp_path / "x").write_bytes(b"hello")
    with pytest.raises(tangent.errors.BadComponent, match="not a readable safetensors file"):
        disclosed(tmp_path / "x")
