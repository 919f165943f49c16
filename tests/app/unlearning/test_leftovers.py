"""Files of batch predictions that are no more: a deletion of what made them removes them too."""

from pathlib import Path
from typing import Any

import pytest

from app.database.sessions import transaction
from app.database.tables import BatchPrediction
from app.files import intents
from app.files.blobs import LocalBlobs
from app.passes import batch_predictions
from app.unlearning import cleanup
from tests.support.batches import begun, blobs, sent
from tests.support.client import delete, until_ended, verify
from tests.support.images import archive
from tests.support.service import Service

SCOPE = "head"
TEXT = b"what a component predicted"


def left_by_an_attempt(service: Service, id_: str, *, is_moved: bool) -> Path:
    """Leave a file of a killed attempt, before or after it was moved to its place."""
    state = service.state
    path = state.blobs.scratch_path(id_)
    path.write_bytes(TEXT)
    if not is_moved:
        return path
    key = f"batch_predictions/{id_}/results-7.jsonl"
    intents.store(state.sessions, state.blobs, path, key)
    return state.blobs.path(key)


def ready(service: Service) -> str:
    """Compute the prediction of an archive; return its id."""
    id_ = sent(service, archive({"cat": 2}, 9)).json()["id"]
    until_ended(service, f"batch-predictions/{id_}")
    return id_


def remove_row(service: Service, id_: str) -> None:
    """Delete the batch prediction in a process that dies right after the commit."""
    with transaction(service.state.sessions) as session:
        batch_predictions.remove(session, service.state.blobs, id_)
        session.info[True].clear()


@pytest.mark.parametrize("is_moved", [False, True])
def test_what_a_killed_attempt_left_goes_with_its_batch_prediction(
    service: Service, is_moved: bool
) -> None:
    service.component({"cat": 3, "dog": 3})
    id_ = ready(service)
    left = left_by_an_attempt(service, id_, is_moved=is_moved)
    assert service.client.delete(f"/v1/batch-predictions/{id_}").status_code == 204
    assert not left.exists()
    assert blobs(service) == []


@pytest.mark.parametrize("is_moved", [False, True])
def test_a_deletion_removes_what_is_left_of_batch_predictions_without_a_row(
    service: Service, is_moved: bool
) -> None:
    part, other = service.component({"cat": 3}), service.component({"dog": 3})
    earlier = delete(service, f"components/{other}")
    id_ = ready(service)
    kept = ready(service)
    remove_row(service, id_)
    left = left_by_an_attempt(service, id_, is_moved=is_moved)
    assert left.exists()
    assert [key for key in blobs(service) if id_ in key]  # what the row had named
    found = verify(service, earlier)
    assert not found["ok"]
    assert {each["kind"] for each in found["residue"]} == {"batch_prediction_files"}
    assert service.client.get(f"/v1/batch-predictions/{kept}/results").status_code == 200

    receipt = delete(service, f"components/{part}")

    assert not left.exists()
    assert blobs(service) == []
    assert verify(service, receipt)["ok"] and verify(service, earlier)["ok"]


def test_a_deletion_leaves_other_files_of_batch_predictions_alone(service: Service) -> None:
    part = service.component({"cat": 3})
    other = service.component({"dog": 3})
    dataset_id = service.dataset({"cat": 1}, start=70)
    path = begun(service, dataset_id=dataset_id, components=[{"id": other}])
    until_ended(service, path)
    state = service.state
    arriving = state.blobs.scratch_path("batch")  # an archive between its intent and its row
    arriving.write_bytes(TEXT)
    key = batch_predictions.archive_key(batch_predictions.new_id(state.sessions))
    intents.store(state.sessions, state.blobs, arriving, key)
    receipt = delete(service, f"components/{part}")
    assert key in blobs(service)
    assert service.client.get(f"/v1/{path}/results").status_code == 200
    assert verify(service, receipt)["ok"]


def test_nothing_can_move_to_the_results_after_the_scratch_files_are_gone(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = service.component({"cat": 3, "dog": 3})
    id_ = ready(service)
    left = left_by_an_attempt(service, id_, is_moved=False)
    moved: list[bool] = []
    delete_folder = cleanup._delete_folder

    def with_a_late_move(store: Any, folder: str) -> None:
        delete_folder(store, folder)
        if folder.endswith(id_) and isinstance(store, LocalBlobs):
            moved.append(left.exists())

    monkeypatch.setattr(cleanup, "_delete_folder", with_a_late_move)
    delete(service, f"components/{part}")
    assert moved == [False]
    assert not left.exists()


def test_a_start_removes_at_once_what_was_made_of_what_is_gone(service: Service) -> None:
    part = service.component({"cat": 3, "dog": 3})
    invalidated, removed = ready(service), ready(service)
    remove_row(service, removed)
    delete(service, f"components/{part}")
    again = service.component({"cat": 4, "dog": 3}, start=30)
    late = left_by_an_attempt(service, invalidated, is_moved=True)
    scratch = [left_by_an_attempt(service, id_, is_moved=False) for id_ in (invalidated, removed)]
    state = service.state
    cleanup.recover(state.sessions, state.jobs, state.blobs)
    assert [path for path in (late, *scratch) if path.exists()] == []
    assert verify(service, delete(service, f"components/{again}"))["ok"]
    with transaction(state.reading) as session:
        assert session.get_one(BatchPrediction, invalidated).status == "invalidated"
