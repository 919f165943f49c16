"""Commands on a live service: tables for people, JSON that the schemas read, one line of error."""

import io
import json
import re
import stat
import sys
import zipfile

import pytest

from tangent_composer import Client
from tangent_composer.client import login as stored
from tangent_composer.schemas.answers import PredictionOut
from tangent_composer.schemas.components import ComponentOut
from tangent_composer.schemas.compositions import CompositionOut
from tangent_composer.schemas.datasets import DatasetOut, DatasetSummary, UploadedDataset
from tangent_composer.schemas.evaluations import AnsweredImageOut, EvaluationOut
from tangent_composer.schemas.images import HeldImage, ImageSearchOut
from tangent_composer.schemas.pages import Listing
from tangent_composer.schemas.previews import DatasetPreviewOut, PreviewOut
from tangent_composer.schemas.receipts import ReceiptOut
from tests.support.images import archive, image

SETTINGS = {"api_key": "a key of these tests"}


@pytest.fixture
def documents(pets, tmp_path, tangent):
    """Commands whose JSON a schema reads, each with its schema."""
    folder, dataset, component = pets
    file = folder / "cat" / "0001.png"
    tangent("compose", "everyone")
    return [
        (("upload", folder), UploadedDataset),
        (("datasets",), Listing[DatasetSummary]),
        (("datasets", dataset), DatasetOut),
        (("train", dataset), ComponentOut),
        (("wait", component), ComponentOut),
        (("components", "--status", "ready"), Listing[ComponentOut]),
        (("components", component), ComponentOut),
        (("compose", "mine", f"{component}=0.5"), CompositionOut),
        (("compositions",), Listing[CompositionOut]),
        (("compositions", "everyone"), CompositionOut),
        (("predict", file, "-c", "everyone"), PredictionOut),
        (("evaluate", dataset, "--component", component), EvaluationOut),
        (("preview", component, "--dataset", dataset), PreviewOut),
        (("preview", dataset), DatasetPreviewOut),
        (("find", file), ImageSearchOut),
        (("receipts",), Listing[ReceiptOut]),
    ]


def test_the_json_of_every_command_is_that_of_the_api(tangent, documents):
    for command, model in documents:
        status, out, _ = tangent(*command, "--json")
        assert status == 0, command
        read = model.model_validate_json(out)
        shown = json.loads(out)
        assert read.model_dump(mode="json", by_alias=True).items() <= shown.items() or (
            model is PredictionOut
        ), command


def test_a_composition_has_the_rule_that_the_help_of_compose_names(tangent, pets):
    _, out, _ = tangent("compose", "--help")
    told = re.sub(r"[\s│]+", " ", out)
    assert "Default: weighted if components have weights, else joint." in told
    for members, rule in ((), "joint"), ((f"{pets[2]}=2",), "weighted"):
        made = json.loads(tangent("compose", "by-default", *members, "--json")[1])
        assert made["rule"] == rule


def test_what_is_deleted_has_a_receipt_that_holds(tangent, pets, tmp_path):
    other = tmp_path / "cow"
    (other / "cow").mkdir(parents=True)
    (other / "cow" / "1.png").write_bytes(image("cow", 1))
    dataset = json.loads(tangent("upload", other, "--json")[1])["id"]
    sha256 = json.loads(tangent("find", other / "cow" / "1.png", "--json")[1])["sha256"]
    held = Listing[HeldImage].model_validate_json(tangent("find", sha256, "--json")[1])
    assert [each.dataset_id for each in held.data] == [dataset]

    receipt = ReceiptOut.model_validate_json(tangent("unlearn", dataset, "--yes", "--json")[1])

    status, out, _ = tangent("receipts", "--verify")
    assert (status, out.endswith("receipts are valid, 0 signed\n")) == (0, True)
    assert tangent("receipts", receipt.id, "--verify")[0] == 0
    status, out, _ = tangent("receipts", "--head", "f" * 64, "--json")
    assert (status, json.loads(out)["ok"]) == (1, False)
    status, _, err = tangent("datasets", dataset)
    assert status == 2
    assert re.fullmatch(rf"tangent: dataset {dataset} was deleted.*{receipt.id}.*\n", err)


def test_deleting_asks_or_wants_to_be_told(tangent, pets, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    status, _, err = tangent("unlearn", pets[1])
    assert (status, err) == (
        2,
        f"tangent: {pets[1]} would be deleted for good: give --yes where nobody can be asked\n",
    )


def test_tables_have_whole_lines_in_a_pipe(tangent, pets):
    _, dataset, component = pets
    status, out, _ = tangent("components")
    lines = out.splitlines()
    assert status == 0
    assert lines[0].split()[:4] == ["id", "name", "space", "status"]
    assert any(component in line and "cat, dog" in line for line in lines)
    _, out, _ = tangent("predict", pets[0], "--component", component)
    assert len(out.strip().splitlines()) == 2 + 12
    _, out, _ = tangent("evaluate", dataset, "--component", component)
    assert re.search(r"^accuracy +1$", out, re.M)
    _, out, _ = tangent("compare", dataset, "--before", component, "--after", component)
    assert out.endswith("0 images are right now, 0 are wrong now\n")


def test_accuracies_on_training_images_say_so_wherever_they_are_shown(tangent, pets):
    _, dataset, component = pets
    label = "measured on training images: 12 of these 12"
    assert label in tangent("evaluate", dataset, "--component", component)[1]
    _, out, _ = tangent("compare", dataset, "--before", component, "--after", component)
    assert f"note on before: {label}" in out and f"note on after: {label}" in out
    assert label in tangent("preview", component, "--dataset", dataset)[1]


def test_a_measure_names_who_has_measured_it(tangent, service, pets, tmp_path):
    file = tmp_path / "imported.safetensors"
    with Client(service.url, api_key=service.settings.api_key) as client:
        file.write_bytes(client.components.delta(pets[2]))
        metrics = {"holdout_accuracy": 0.99997}
        made = client.components.import_file(file, metrics=metrics, allow_duplicate=True)
    _, out, _ = tangent("components", made.id)
    assert re.search(r"^held-out accuracy +0\.9999\nmeasured by +party$", out, re.M)
    _, out, _ = tangent("components")
    assert next(line for line in out.splitlines() if made.id in line).split()[4:6] == [
        "0.9999",
        "party",
    ]


def test_a_probability_below_one_is_never_shown_as_one():
    from tangent_composer.cli.predict_command import _rounded

    assert [_rounded(each) for each in (0.99999, 1.0, 0.5, 0.0)] == [0.9999, 1.0, 0.5, 0.0]


def test_a_comparison_is_two_evaluations_and_what_changed(tangent, pets):
    _, dataset, component = pets
    out = tangent("compare", dataset, "--before", component, "--after", component, "--json")[1]
    shown = json.loads(out)
    assert EvaluationOut.model_validate(shown["before"]).accuracy == 1.0
    assert EvaluationOut.model_validate(shown["after"]).accuracy == 1.0
    assert [AnsweredImageOut.model_validate(each) for each in shown["changed"]] == []


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        (("upload", "none.zip"), "none.zip cannot be read: No such file"),
        (("train", "ds_none", "--set", "l2"), "'l2' is no pair: give NAME=VALUE"),
        (("train", "ds_none"), "no dataset 'ds_none' exists"),
        (("predict", "none.png"), "none.png cannot be read"),
        (("predict", "x.png", "--rule", "sum"), "there is no rule 'sum': choose one of average"),
        (("predict", "x.png", "--component", "a=b"), "'b' is no weight of a: give ID=NUMBER"),
        (("compose", "x", "a=1", "b"), "b has no weight, but others have"),
        (("components", "--limit"), "No such option"),
        (("upload",), "Missing argument 'source'"),
        (("fly",), "No such command 'fly'"),
        (("datasets", "--url", "nowhere"), "'nowhere' is no address of a service"),
        (("datasets", "--url", "http://127.0.0.1:9"), "http://127.0.0.1:9 cannot be reached"),
    ],
)
def test_a_refusal_is_one_line_and_status_2(tangent, monkeypatch, command, sentence):
    monkeypatch.setattr("tangent_composer.client.blocking.transport.pause", lambda seconds: None)
    status, out, err = tangent(*command)
    assert (status, out) == (2, "")
    assert err.startswith("tangent: ") and sentence in err
    assert err.count("\n") == 1


def test_a_prediction_of_no_image_has_status_1(tangent, pets, tmp_path):
    folder, _, component = pets
    (tmp_path / "no-image.png").write_text("-----BEGIN PUBLIC KEY-----")
    asked = ("predict", tmp_path / "no-image.png", "--component", component)
    for more, status in (((), 1), (("--json",), 1), ((folder,), 0)):
        assert tangent(*asked, *more)[0] == status


def test_a_failed_wait_has_status_1(tangent, tmp_path):
    (tmp_path / "owl").mkdir()
    (tmp_path / "owl" / "1.png").write_bytes(image("owl", 1))
    shown = json.loads(tangent("train", tmp_path, "--no-wait", "--json")[1])
    status, _, err = tangent("wait", shown["id"], "--timeout", "0")
    assert status == 2
    assert "is queued after 0 s: it goes on; give the command again" in err
    from tangent_composer import Client

    with Client() as client:
        client.components.cancel(shown["id"])
    status, _, err = tangent("wait", shown["id"])
    assert (status, err.count("\n")) == (1, 1)
    assert "is cancelled" in err


def test_a_wrong_key_is_refused_with_what_to_do(tangent, monkeypatch):
    monkeypatch.setenv("TANGENT_API_KEY", "another key")
    status, _, err = tangent("datasets")
    assert status == 2
    assert "tangent login" in err


def test_login_keeps_the_key_for_its_owner_only(service, tangent, monkeypatch):
    for name in ("TANGENT_URL", "TANGENT_API_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setattr(sys, "stdin", io.StringIO("not the key\n"))
    assert tangent("login", service.url)[0] == 2
    assert not stored.place().exists()

    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{service.settings.api_key}\n"))
    status, out, _ = tangent("login", service.url)

    assert (status, service.settings.api_key in out) == (0, False)
    assert stat.S_IMODE(stored.place().stat().st_mode) == 0o600
    assert tangent("datasets")[0] == 0


def test_login_mends_its_own_damaged_file(service, tangent, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{service.settings.api_key}\n"))
    stored.store(service.url, "an old key").write_text("{")
    assert tangent("login", service.url)[0] == 0
    assert stored.key_of(service.url) == service.settings.api_key


def test_login_without_a_key_tries_without_one(service, tangent):
    stored.store(service.url, service.settings.api_key)  # and the variable has it too
    status, _, err = tangent("login", service.url, "--no-key")
    assert (status, "tangent login" in err) == (2, True)
    assert stored.key_of(service.url) == service.settings.api_key


def test_names_in_an_archive_cannot_steer_the_terminal(tangent, tmp_path):
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as packed:
        packed.writestr("cat/1.png", image("cat", 880))
        packed.writestr("cat/\x1b]0;evil\x07.txt", "no image")
    status, out, _ = tangent("upload", tmp_path / "evil.zip")
    assert (status, "evil" in out) == (0, True)
    assert out.replace("\n", "").isprintable()


def test_probabilities_may_be_calibrated_by_a_named_dataset(tangent, pets, tmp_path):
    (folder, _, component), unseen = pets, tmp_path / "unseen.zip"
    unseen.write_bytes(archive({"cat": 6, "dog": 6}, 60))
    dataset = json.loads(tangent("upload", unseen, "--json")[1])["id"]
    asked = ("predict", folder / "cat" / "0001.png", "--component", component, "--json")
    plain = json.loads(tangent(*asked)[1])["calibration"]
    status, out, told = tangent(*asked, "--calibration-dataset", dataset)
    assert status == 0, told
    named = json.loads(out)["calibration"]
    assert (plain.get("dataset_id"), named["dataset_id"]) == (None, dataset)
