"""`tangent batch-predict` on a live service."""

import errno
import io
import zipfile

import pytest

from tangent_composer import Client
from tangent_composer.cli.program import main
from tangent_composer.client.blocking.batch_predictions import BatchPrediction
from tangent_composer.client.errors import NotFinished
from tangent_composer.schemas.batch_predictions import BatchPredictionOut
from tests.support.images import archive
from tests.support.service import Service


@pytest.fixture
def tangent(service, capsys, monkeypatch):
    """Runs a command; returns its status, its output and its errors."""
    monkeypatch.setenv("TANGENT_URL", service.url)

    def run(*arguments: object) -> tuple[int, str, str]:
        status = main([str(each) for each in arguments])
        return status, *capsys.readouterr()

    return run


@pytest.fixture
def pets(tmp_path, service):
    """A folder of pets, the id of its dataset and that of its ready component."""
    data, folder = archive({"cat": 6, "dog": 6}), tmp_path / "pets"
    with zipfile.ZipFile(io.BytesIO(data)) as packed:
        packed.extractall(folder)
    with Client(service.url, progress=False) as client:
        dataset = client.datasets.upload(data, train=True)
    if dataset.component.status != "ready":
        service.train(dataset.component.id)
    return folder, dataset.id, dataset.component.id


def test_its_json_is_the_job_of_the_api(tangent, pets, tmp_path):
    status, out, _ = tangent("batch-predict", pets[0], "-o", tmp_path / "found.jsonl", "--json")
    assert (status, BatchPredictionOut.model_validate_json(out).status) == (0, "ready")


def test_the_labels_of_many_images_are_written_to_a_file(tangent, pets, tmp_path):
    folder, dataset, component = pets
    target = tmp_path / "found.csv"

    status, out, _ = tangent("batch-predict", folder, "-o", target, "--component", component)
    assert (status, "12" in out, len(target.read_text().splitlines())) == (0, True, 13)
    status, out, _ = tangent("batch-predict", dataset, "-o", target, "--split", "none")
    assert (status, target.read_text().count("cat/")) == (0, 6)
    status, _, error = tangent("batch-predict", folder, "-o", target, "--split", "val")
    assert status == 2
    assert "--split chooses images of a dataset" in error


def test_a_batch_without_any_label_has_status_1(tangent, pets, tmp_path, monkeypatch):
    real = BatchPrediction.wait

    def unanswered(started: BatchPrediction, **more: object) -> BatchPrediction:
        done = real(started, **more)
        return done.model_copy(update={"num_errors": done.progress.total})

    monkeypatch.setattr(BatchPrediction, "wait", unanswered)
    status, out, _ = tangent("batch-predict", pets[0], "-o", tmp_path / "found.csv")
    assert (status, "with an error" in out, (tmp_path / "found.csv").exists()) == (1, True, True)


def jobs(service: Service) -> dict[str, str]:
    """The states of the batch predictions, by their ids."""
    listed = service.client.get("/v1/batch-predictions?limit=100").json()["data"]
    return {job["id"]: job["status"] for job in listed}


@pytest.mark.parametrize("place", ["none/found.csv", "."])
def test_a_place_that_cannot_be_written_to_is_told_before_anything_is_sent(
    tangent, pets, service, tmp_path, place
):
    before = jobs(service), sorted(tmp_path.iterdir())
    status, out, error = tangent("batch-predict", pets[0], "-o", tmp_path / place)
    assert (status, out) == (2, "")
    assert "cannot be written: " in error
    assert (jobs(service), sorted(tmp_path.iterdir())) == before


@pytest.mark.parametrize(
    "fault", [OSError(errno.ENOSPC, "No space left"), NotFinished("x", "late")]
)
def test_a_late_failure_names_the_job(tangent, pets, service, tmp_path, monkeypatch, fault):
    def fail(*_: object) -> None:
        raise fault

    before = jobs(service)
    monkeypatch.setattr(BatchPrediction, "save", fail)
    status, _, error = tangent("batch-predict", pets[0], "-o", tmp_path / "found.csv")
    ((job, state),) = jobs(service).items() - before.items()
    assert (status, state) == (2, "ready")
    assert f"/v1/batch-predictions/{job}/results" in error
    assert len(error.splitlines()) == 1
