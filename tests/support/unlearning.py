"""Data with and without one image, and where bytes of it are left."""

import hashlib
from typing import Any

import httpx

from app.database.sessions import transaction
from app.receipts.answer_hash import AnswerHashes
from tests.support.images import image
from tests.support.service import Service

COUNTS = {"cat": 5, "dog": 4}
GONE = ("dog", 2)
FILES = [(label, number) for label, count in COUNTS.items() for number in range(count)]
WITHOUT = [each for each in FILES if each != GONE]
SPACES = {
    "default": None,
    "declared": {"backbone": "vit_micro_32", "scope": "head2toe", "labels": ["cat", "emu"]},
    "blocks": {"backbone": "resnet_micro_32", "scope": "last-block"},
}


def image_id(service: Service, dataset_id: str, content: tuple[str, int] = GONE) -> str:
    """Return the id of the dataset's image with this content."""
    sha256 = hashlib.sha256(image(*content)).hexdigest()
    listed = service.client.get(f"/v1/datasets/{dataset_id}/images?limit=100").json()["data"]
    (found,) = (each["id"] for each in listed if each["sha256"] == sha256)
    return found


def unlearn(
    service: Service, dataset_id: str, contents: list[tuple[str, int]], **sent: Any
) -> dict[str, Any]:
    """Delete the images with these contents by one request; return the receipt."""
    body = {"ids": [image_id(service, dataset_id, each) for each in contents]}
    path = f"/v1/datasets/{dataset_id}/images/delete"
    answer = service.client.post(path, json=body, **sent)
    assert answer.status_code == 200, answer.text
    return answer.json()


def delta(service: Service, component_id: str) -> httpx.Response:
    """Return the answer with the component's file."""
    return service.client.get(f"/v1/components/{component_id}/delta")


def occurrences(service: Service, trace: bytes) -> int:
    """Count these bytes in the data folder's files: database, its log, blobs and scratch."""
    files = [path for path in service.settings.data_dir.rglob("*") if path.is_file()]
    return sum(path.read_bytes().count(trace) for path in files)


def probe_of(service: Service, space: str) -> dict[str, Any]:
    """Take the space's probe as it is now, without deleting anything."""
    with transaction(service.state.reading) as session:
        return AnswerHashes(service.state.engine, service.state.spaces).take(session, space)
