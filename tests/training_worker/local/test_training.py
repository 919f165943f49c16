"""A local training is refused before it takes time, and private by the same accounting."""

import json
from pathlib import Path

import pytest
from safetensors import safe_open

import tangent
from app.errors import Problem
from tangent.errors import FingerprintMismatch, TangentError
from tangent_composer import metrics_file
from tests.support.archives import archive
from tests.support.local_training import as_folder, card_of, trained
from tests.support.splits import files_of
from training_worker.local import training as local

FILES = files_of({"": {"cat": 8, "dog": 3}})


@pytest.fixture(scope="module")
def card(tmp_path_factory) -> Path:
    return card_of(tangent.open_space("vit_micro_32", "head"), tmp_path_factory.mktemp("card"))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return as_folder(FILES, tmp_path / "data")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


def refusal(card: Path, data: Path, home: Path, **more) -> Problem | TangentError:
    """The error of a training, which has written nothing."""
    with pytest.raises((Problem, TangentError)) as caught:
        trained(card, data, home, **more)
    assert list(home.iterdir()) == []
    return caught.value


def test_progress_is_told_by_phases_and_nothing_is_left_but_the_files(card, data, home):
    told: list[dict] = []
    made = local.train(local.LocalTraining(card, data, home / "a.safetensors"), told.append)
    assert told[0]["phase"] == "images"
    assert ("features", 11, 11) in {(e["phase"], e["step"], e["total"]) for e in told}
    assert {path.name for path in home.iterdir()} == {"a.safetensors", "a.metrics.json"}
    assert made.labels == {"cat": 8, "dog": 3}
    assert tangent.Component.load(home / "a.safetensors").labels == made.labels


def test_an_output_among_the_images_does_not_make_copies_of_them_images(card, data, tmp_path):
    left = data / "cat" / ".tangent-fit-killed"
    left.mkdir()
    (left / "images.pack").write_bytes(b"what a training that was killed has left")
    before = set(data.rglob("*"))
    made = local.train(local.LocalTraining(card, data, data / "a.safetensors"))
    assert (made.rejected, made.num_rejected, made.labels) == ([], 0, {"cat": 8, "dog": 3})
    names = {"a.safetensors", "a.metrics.json"}
    assert set(data.rglob("*")) - before == {data / name for name in names}
    apart = local.train(local.LocalTraining(card, as_folder(FILES, tmp_path / "b"), tmp_path / "c"))
    assert made.sha256 == apart.sha256


def test_settings_are_checked_before_the_images_are_read(card, tmp_path, home):
    nowhere = tmp_path / "nowhere"
    assert "no hyperparameter 'speed'" in str(
        refusal(card, nowhere, home, hyperparameters={"speed": 3})
    )
    assert "epsilon" in str(refusal(card, nowhere, home, privacy={"epsilon": 0, "delta": 1e-5}))
    assert refusal(card, nowhere, home, device="abacus").code == "unknown_device"
    assert "no folder" in str(refusal(card, nowhere, home, scratch=tmp_path / "none"))


def test_another_space_is_found_before_the_images_are_read(card, tmp_path, home, monkeypatch):
    monkeypatch.setattr("tangent.spaces.space.fingerprint_of", lambda *_: "0" * 64)
    with pytest.raises(FingerprintMismatch, match="nothing trained here would fit"):
        trained(card, tmp_path / "nowhere", home)


def test_fewer_images_of_a_label_than_wanted_leave_nothing(card, data, home):
    refused = refusal(card, data, home, min_per_label=5)
    assert refused.code == "too_few_images" and "'dog' has 3" in str(refused)
    assert trained(card, data, home, min_per_label=3).labels["dog"] == 3


def test_a_file_without_statistics_is_the_same_but_for_them(card, data, home, tmp_path):
    whole = trained(card, data, home)
    bare = tmp_path / "bare"
    bare.mkdir()
    made = trained(card, data, bare, statistics=False)
    assert made.bytes < whole.bytes and not made.statistics
    assert local.sha256_of(Path(made.file)) == made.sha256
    assert metrics_file.read(Path(made.file)) == made.metrics
    with safe_open(made.file, framework="pt") as file:
        assert list(file.keys()) == ["delta.head"]
    local.leave_out_statistics(Path(whole.file), bare / "again.safetensors")
    assert (bare / "again.safetensors").read_bytes() == Path(made.file).read_bytes()


def test_a_private_training_draws_new_noise_each_time_whatever_its_seed(card, data, home):
    terms = {"epsilon": 3.0, "delta": 1e-5}
    files = []
    for _ in range(2):
        made = trained(card, data, home, privacy=terms, seed=4)
        files.append(Path(made.file).read_bytes())
        assert made.metrics["train_accuracy"] is made.metrics["holdout_accuracy"] is None
    assert files[0] != files[1]
    asked = tangent.Privacy.resolve(terms, ["cat", "dog"])
    assert made.privacy == asked.as_dict()
    assert tangent.Component.load(Path(made.file)).privacy == made.privacy


def test_a_private_training_has_the_labels_that_are_named_and_no_count_is_told(card, data, home):
    terms = {"epsilon": 3.0, "delta": 1e-5}
    made = trained(card, data, home, privacy=terms, labels=("cat", "pony"))
    assert list(made.labels) == ["cat", "pony"]
    refused = refusal_of_counts(card, data, home, terms)
    assert "which a private training never tells" in str(refused)


def test_more_public_labels_than_a_dataset_may_have_are_refused(card, data, home):
    few, terms = local.Bounds.given({"max_labels": 2}), {"epsilon": 3.0, "delta": 1e-5}
    named = ("cat", "dog", "pony")
    refused = refusal(card, data, home, privacy=terms, labels=named, bounds=few)
    assert refused.code == "too_many_labels" and "3 labels are named" in str(refused)


@pytest.mark.parametrize(("label", "other"), [("dog", "p2"), ("dog", ""), ("cat", "p2")])
def test_the_same_bytes_in_two_groups_are_refused_as_by_the_service(
    card, tmp_path, home, label, other
):
    first, *more = (data for _, data in sorted(FILES.items()))
    rows = f"file_name,label,group\na.png,cat,p1\nb.png,{label},{other}\nc.png,dog,p2\n"
    files = {"metadata.csv": rows.encode(), "a.png": first, "b.png": first, "c.png": more[-1]}
    data, terms = as_folder(files, tmp_path / "two"), {"epsilon": 3.0, "delta": 1e-5}
    refused = refusal(card, data, home, privacy=terms | {"unit": "group"})
    assert refused.code == "bad_privacy" and ".png' is in two groups" in str(refused)


def refusal_of_counts(card: Path, data: Path, home: Path, terms: dict) -> Problem:
    with pytest.raises(Problem) as caught:
        trained(card, data, home, privacy=terms, min_per_label=2)
    return caught.value


def test_metrics_of_another_file_are_not_taken_for_its_own(card, data, home):
    made = Path(trained(card, data, home).file)
    made.write_bytes(made.read_bytes() + b" ")
    with pytest.raises(metrics_file.BadMetrics, match="is of another file"):
        metrics_file.read(made)
    metrics_file.path_of(made).write_text("[1")
    with pytest.raises(metrics_file.BadMetrics, match="holds no metrics"):
        metrics_file.read(made)
    metrics_file.path_of(made).unlink()
    assert metrics_file.read(made) is None


def test_a_training_that_fails_leaves_no_file(card, tmp_path, home):
    (tmp_path / "bad.zip").write_bytes(archive(FILES)[:-30])
    assert refusal(card, tmp_path / "bad.zip", home).code.startswith("archive_")


def test_metrics_are_left_out_if_that_is_wanted(card, data, home):
    made = trained(card, data, home, metrics=False)
    assert made.metrics_file is None
    assert [path.name for path in home.iterdir()] == ["component.safetensors"]
    assert json.dumps(made.metrics)
