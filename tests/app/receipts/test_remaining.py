"""Verification of a receipt notices every changed byte in the files of remaining components."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from app.database.sessions import transaction
from app.database.tables import Component
from app.files.blobs import LocalBlobs
from app.receipts import remaining
from tests.support.client import delete, verify
from tests.support.service import Service


def path_of(service: Service, component_id: str) -> Path:
    (key,) = service.state.blobs.keys(f"components/{component_id}")
    return service.state.blobs.path(key)


def flipped(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))


CHANGES: list[Callable[[Path], None]] = [
    flipped,
    lambda path: path.write_bytes(path.read_bytes()[:-1]),
    lambda path: path.write_bytes(b""),
    Path.unlink,
]


@pytest.mark.parametrize("change", CHANGES, ids=["flipped", "cut", "emptied", "missing"])
def test_verify_notices_a_file_that_differs_from_its_row(service, change):
    kept, gone = service.component({"cat": 3}), service.component({"dog": 3})
    receipt = delete(service, f"components/{gone}")
    found = verify(service, receipt)
    assert (found["ok"], found["files_ok"]) == (True, True)
    assert (found["files_checked"], found["files_left_out"]) == (1, 0)

    change(path_of(service, kept))

    found = verify(service, receipt)
    assert (found["ok"], found["files_ok"], found["manifest_ok"]) == (False, False, True)


def test_a_receipt_does_not_cover_files_of_other_spaces_or_later_ones(service):
    body = {"name": "other", "backbone": "resnet_micro_32", "scope": "head"}
    assert service.client.post("/v1/spaces", json=body).status_code == 201
    elsewhere = service.component({"cat": 3}, space="other")
    receipt = delete(service, f"components/{service.component({'dog': 3})}")
    later = service.component({"cow": 3})

    for each in (elsewhere, later):
        flipped(path_of(service, each))

    found = verify(service, receipt)
    assert (found["ok"], found["files_ok"], found["files_checked"]) == (True, True, 0)


def test_a_component_deleted_later_is_not_missed(service):
    kept, gone = service.component({"cat": 3}), service.component({"dog": 3})
    receipt = delete(service, f"components/{gone}")
    delete(service, f"components/{kept}")

    found = verify(service, receipt)
    assert (found["ok"], found["files_ok"], found["manifest_ok"]) == (True, True, None)


def files(service: Service, blobs: LocalBlobs | None = None, **bound: int) -> remaining.FileCheck:
    state = service.state
    return remaining.check_files(
        state.reading, blobs or state.blobs, ["default"], before=1, **bound
    )


def test_a_check_reads_no_more_than_its_bound_and_says_so(service):
    small, large = service.component({"cat": 3}), service.component({"cow": 3, "dog": 3})
    sizes = {each: path_of(service, each).stat().st_size for each in (small, large)}
    assert sizes[small] < sizes[large]

    assert files(service) == remaining.FileCheck(damaged=0, checked=2, left_out=0)
    assert files(service).ok is True
    some = files(service, max_bytes=sum(sizes.values()) - 1)
    assert (some.checked, some.left_out, some.ok) == (1, 1, None)
    flipped(path_of(service, small))
    assert files(service, max_bytes=sizes[small]).ok is False
    assert files(service, max_bytes=1) == remaining.FileCheck(damaged=0, checked=0, left_out=2)


def test_a_file_that_another_process_deletes_meanwhile_is_no_damage(service):
    kept = service.component({"cat": 3})

    class Deleting(LocalBlobs):
        """Its files vanish with their rows just before they are read."""

        def path(self, key: str, *, must_exist: bool = True) -> Path:
            with transaction(service.state.sessions) as session:
                row = session.get(Component, kept)
                if row is not None:
                    row.status, row.blob_key, row.sha256 = "failed", None, None
            path_of(service, kept).unlink(missing_ok=True)
            return super().path(key, must_exist=must_exist)

    found = files(service, Deleting(service.state.blobs.root))

    assert (found.damaged, found.checked, found.ok) == (0, 1, True)


@pytest.mark.parametrize("hours", [-24, 24])
@pytest.mark.parametrize("imported", [False, True])
def test_a_receipt_is_judged_by_the_ledgers_order_and_not_by_clocks(
    either: Service, hours: int, imported: bool
):
    """The worker's clock, or this machine's at another time, may differ from the receipt's."""
    kept, gone = either.component({"cat": 3}), either.component({"dog": 3})
    file = either.client.get(f"/v1/components/{gone}/delta").content
    shift(either, kept, hours)
    receipt = delete(either, f"components/{gone}?probe=true")
    if imported:
        files = {"file": ("a.safetensors", file)}
        later = either.client.post("/v1/components/import", files=files).json()["id"]
    else:
        later = either.component({"cow": 3})
    shift(either, later, hours)

    found = verify(either, receipt)
    assert (found["ok"], found["manifest_ok"], found["files_ok"]) == (True, True, True), found
    assert found["files_checked"] == 1 and found["probe_ok"] is True

    with transaction(either.state.sessions) as session:
        session.get_one(Component, kept).sha256 = "0" * 64
    assert verify(either, receipt)["manifest_ok"] is False


def shift(service: Service, component_id: str, hours: int) -> None:
    """Let the component have become ready by a clock that differs by these hours."""
    with transaction(service.state.sessions) as session:
        row = session.get_one(Component, component_id)
        assert row.finished_at is not None
        row.finished_at += timedelta(hours=hours)
