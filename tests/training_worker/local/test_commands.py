"""The commands of a machine without the service: JSON out, and every refusal one sentence."""

import json
from pathlib import Path

import pytest

import tangent
from tangent_composer import metrics_file
from tests.support.archives import archive
from tests.support.local_training import as_folder, card_of
from tests.support.splits import files_of
from training_worker.local.commands import Refused, fit, what_leaves

FILES = files_of({"": {"cat": 12, "dog": 2}})


@pytest.fixture(scope="module")
def card(tmp_path_factory) -> Path:
    return card_of(tangent.open_space("vit_micro_32", "head"), tmp_path_factory.mktemp("card"))


@pytest.fixture(scope="module")
def made(card, tmp_path_factory) -> dict:
    folder = tmp_path_factory.mktemp("home")
    return fit(card, as_folder(FILES, folder / "data"), folder / "a.safetensors", threads=1)


def test_a_training_tells_all_of_itself_in_json(made):
    assert json.loads(json.dumps(made)) == made
    assert made["smallest_label"] == {"label": "dog", "images": 2}
    assert any("'dog' has 2 images" in each for each in made["tells"])
    assert made["same_bits"] is True


def test_all_that_leaves_is_told_with_the_metrics_beside_the_file(made):
    told = what_leaves(Path(made["file"]))
    assert json.loads(json.dumps(told)) == told
    assert told["metrics"] == made["metrics"]
    assert {each["name"] for each in told["tensors"]} >= {"delta.head", "statistics.gram"}


def test_a_label_of_too_few_images_is_an_answer_of_no(made):
    with pytest.raises(Refused, match="'dog' has 2") as caught:
        what_leaves(Path(made["file"]), min_per_label=10)
    assert caught.value.code == "too_few_images"
    assert what_leaves(Path(made["file"]), min_per_label=2)["smallest_images"] == 2


def test_the_file_without_statistics_is_written_with_the_same_metrics(made, tmp_path):
    target = tmp_path / "bare.safetensors"
    told = what_leaves(Path(made["file"]), without_statistics=target)
    assert [each["name"] for each in told["tensors"]] == ["delta.head"]
    assert told["file"] == str(target)
    assert metrics_file.read(target) == made["metrics"]


def test_refusals_have_a_code_a_sentence_and_the_rejected_files(card, tmp_path):
    bad = tmp_path / "bad.zip"
    bad.write_bytes(archive({"cat/1.png": b"no image", "cat/2.txt": b"text"}))
    with pytest.raises(Refused, match="holds no readable image") as caught:
        fit(card, bad, tmp_path / "a.safetensors")
    assert [each["path"] for each in caught.value.rejected] == ["cat/1.png", "cat/2.txt"]
    with pytest.raises(Refused, match="no card of a space"):
        fit(bad, bad, tmp_path / "a.safetensors")
    with pytest.raises(Refused, match="No such file"):
        what_leaves(tmp_path / "none.safetensors", without_statistics=tmp_path / "b")
    with pytest.raises(Refused, match="no bound is called"):
        fit(card, bad, tmp_path / "a.safetensors", bounds={"max_cats": 1})
    assert {path.name for path in tmp_path.iterdir()} == {"bad.zip"}
