"""The files of a pass's images are read as many at a time as have so many bytes together."""

from collections.abc import Callable
from typing import Any

import pytest

from app.images import chunks
from app.inference.opened_spaces import OpenedSpaces
from tests.support.batches import begun, lines, sent
from tests.support.client import WAIT, until_ended
from tests.support.images import archive, image
from tests.support.service import Service

SCOPE = "head"
COUNTS = {"cat": 4, "dog": 3}


@pytest.fixture
def bare(serve: Callable[..., Service]) -> Service:
    """A service with a component, which reads no images for a calibration."""
    service = serve(calibration_images=0)
    service.component({"cat": 3, "dog": 3})
    return service


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """The sizes of the files that were decoded together, pass by pass."""
    found: list[list[int]] = []
    pixels = OpenedSpaces.pixels

    def noted(self: OpenedSpaces, row: Any, files: list[bytes], *more: Any) -> Any:
        found.append([len(file) for file in files])
        return pixels(self, row, files, *more)

    monkeypatch.setattr(OpenedSpaces, "pixels", noted)
    return found


def bound(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    monkeypatch.setattr(chunks, "MAX_BYTES", most)


def evaluated(service: Service, dataset_id: str) -> dict[str, Any]:
    asked = {"dataset_id": dataset_id}
    found = service.client.post("/v1/evaluations", json=asked, headers=WAIT).json()
    return {key: found[key] for key in ("status", "num_images", "accuracy", "confusion")}


def test_a_pass_over_a_dataset_holds_so_many_bytes_of_files(
    bare: Service, monkeypatch: pytest.MonkeyPatch, read: list[list[int]]
) -> None:
    dataset_id = bare.dataset(COUNTS, start=20)
    whole = evaluated(bare, dataset_id)
    sizes = read[-1]
    assert whole["status"] == "ready" and len(sizes) == 7
    most = sum(sizes[:2])
    bound(monkeypatch, most)
    read.clear()

    assert evaluated(bare, dataset_id) == whole
    path = begun(bare, dataset_id=dataset_id)
    assert until_ended(bare, path)["status"] == "ready"

    assert [size for some in read for size in some] == 2 * sizes
    assert read[0] == sizes[:2] and all(sum(some) <= most for some in read if len(some) > 1)


def test_a_file_that_is_larger_is_read_by_itself(
    bare: Service, monkeypatch: pytest.MonkeyPatch, read: list[list[int]]
) -> None:
    dataset_id = bare.dataset(COUNTS, start=20)
    bound(monkeypatch, 1)
    read.clear()

    assert evaluated(bare, dataset_id)["num_images"] == 7

    assert [len(some) for some in read] == [1] * 7


def test_a_batch_prediction_of_an_archive_holds_so_many_bytes_of_files(
    bare: Service, monkeypatch: pytest.MonkeyPatch, read: list[list[int]]
) -> None:
    bound(monkeypatch, 1)
    read.clear()

    job = sent(bare, archive(COUNTS, 20)).json()["id"]

    assert until_ended(bare, f"batch-predictions/{job}")["status"] == "ready"
    assert len(lines(bare, f"batch-predictions/{job}")) == 7
    assert [len(some) for some in read] == [1] * 7


@pytest.mark.parametrize("is_named", [False, True], ids=["by its own images", "by a dataset"])
def test_a_calibration_holds_so_many_bytes_of_files(
    serve: Callable[..., Service],
    monkeypatch: pytest.MonkeyPatch,
    read: list[list[int]],
    is_named: bool,
) -> None:
    service = serve()
    service.component({"cat": 3, "dog": 3})
    named = {"calibration_dataset": service.dataset(COUNTS, start=20)} if is_named else {}
    bound(monkeypatch, 1)
    read.clear()

    answer = service.client.post(
        "/v1/predictions",
        params=named,
        content=image("cat", 90),
        headers={"Content-Type": "image/png"},
    )

    assert answer.json()["calibration"]["images"] == 6
    assert [len(some) for some in read] == [1] * (6 + 7 * is_named)


def test_images_that_come_and_go_are_read_so_many_bytes_at_a_time(
    serve: Callable[..., Service], monkeypatch: pytest.MonkeyPatch, read: list[list[int]]
) -> None:
    service = serve()
    component_id = service.component({"cat": 3, "dog": 3})
    dataset_id = service.client.get(f"/v1/components/{component_id}").json()["dataset_id"]
    path = f"/v1/datasets/{dataset_id}/images"
    bound(monkeypatch, 1)
    read.clear()

    files = {"file": ("more.zip", archive({"cat": 2, "dog": 1}, 50))}
    assert service.client.post(path, files=files).status_code == 200

    assert [len(some) for some in read] == [1, 1, 1]
