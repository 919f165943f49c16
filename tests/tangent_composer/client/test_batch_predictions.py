"""Batch predictions through the client: lines that equal predictions, files that are whole."""

import csv
import hashlib
import io
import json

import httpx
import pytest

from tangent_composer import Client
from tangent_composer.client import errors
from tangent_composer.client.downloads import Download
from tests.support.images import archive, image

SETTINGS = {"max_prediction_images": 4}
COUNTS = {"cat": 6, "dog": 6}


@pytest.fixture(scope="module")
def client(service):
    with Client(service.url, progress=False) as made:
        yield made


@pytest.fixture(scope="module")
def pets(service, client):
    """A dataset, and the component that was trained from it."""
    dataset = client.datasets.upload(archive(COUNTS), train=True)
    service.train(dataset.component.id)
    return dataset.id, dataset.component.id


def test_lines_of_a_dataset_equal_predictions_of_its_images(client, pets, tmp_path):
    dataset, component = pets

    lines = list(
        client.batch_predictions.start_dataset(dataset, components=[component]).wait().results()
    )

    images = {each.sha256: each for each in client.datasets.images(dataset)}
    assert [line["index"] for line in lines] == list(range(12))
    for line in lines[:3]:
        file = client.datasets.image(dataset, line["image_id"])
        [alone] = client.predict(file, components=[component]).results
        assert hashlib.sha256(file).hexdigest() == line["sha256"]
        assert line["true_label"] == images[line["sha256"]].label
        assert [each["label"] for each in line["predictions"]] == [
            each.label for each in alone.predictions
        ]
        assert line["predictions"][0]["logit"] == pytest.approx(
            alone.predictions[0].logit, rel=1e-5
        )


def test_a_folder_is_sent_and_its_results_are_saved_by_the_files_ending(client, pets, tmp_path):
    folder = tmp_path / "new"
    folder.mkdir()
    for number in range(7):  # more than a prediction takes
        (folder / f"{number}.png").write_bytes(image("cat", number))
    (folder / "notes.txt").write_text("no image")

    job = client.batch_predictions.start(folder, components=[pets[1]], top_k=1).wait()
    job.save(tmp_path / "found.csv")
    job.save(tmp_path / "found.jsonl")

    rows = list(csv.DictReader(io.StringIO((tmp_path / "found.csv").read_text())))
    lines = [json.loads(line) for line in (tmp_path / "found.jsonl").read_text().splitlines()]
    assert [row["path"] for row in rows] == [line["path"] for line in lines]
    assert [row["label"] for row in rows] == [line["label"] for line in lines]
    assert (job.progress.done, job.archive.num_rejected) == (7, 1)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["found.csv", "found.jsonl", "new"]


def test_jobs_are_listed_cancelled_and_deleted(client, pets):
    job = client.batch_predictions.start_dataset(pets[0], components=[pets[1]]).wait()

    assert job.id in [each.id for each in client.batch_predictions.each(dataset_id=pets[0])]
    with pytest.raises(errors.Conflict, match="ready"):
        client.batch_predictions.cancel(job.id)
    client.batch_predictions.delete(job.id)
    with pytest.raises(errors.NotFound):
        client.batch_predictions.get(job.id)


def test_a_deletion_of_a_part_ends_the_wait(service, client):
    dataset = client.datasets.upload(archive({"cow": 6, "hen": 6}), train=True)
    service.train(dataset.component.id)
    job = client.batch_predictions.start_dataset(dataset.id, components=[dataset.component.id])
    client.components.unlearn(dataset.component.id)

    with pytest.raises(errors.Failed, match=r"batch prediction bp_\w+ is invalidated"):
        job.wait()
    with pytest.raises(errors.Gone) as gone:
        list(job.results())
    assert gone.value.receipt_id.startswith("rcpt_")


def test_an_option_that_the_service_does_not_know_is_named(client, pets):
    with pytest.raises(errors.Invalid, match="top_n"):
        client.batch_predictions.start_dataset(pets[0], components=[pets[1]], top_n=3)


def test_a_download_that_was_cut_or_changed_leaves_what_was_there(tmp_path):
    target = tmp_path / "found.csv"
    target.write_text("of yesterday")

    with pytest.raises(httpx.ReadError), Download(target, None) as file:
        file.write(b"half")
        raise httpx.ReadError("cut")
    with (
        pytest.raises(errors.UnexpectedAnswer, match="download it again"),
        Download(target, f'"{"0" * 64}"') as file,
    ):
        file.write(b"other bytes")

    assert [each.name for each in tmp_path.iterdir()] == ["found.csv"]
    assert target.read_text() == "of yesterday"


def test_a_folder_that_is_not_there_is_told_before_the_download(tmp_path):
    with pytest.raises(errors.BadInput, match="cannot be written: No such file"):
        Download(tmp_path / "none" / "found.csv", None).__enter__()
