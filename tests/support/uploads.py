"""Uploads over HTTP as a client sends them, and what they leave behind."""

from typing import Any

import httpx
from sqlalchemy import func, select

from app.database.sessions import transaction
from app.database.tables import Component, Dataset, IdempotencyKey, Image
from tests.support.archives import archive, noise_at
from tests.support.service import Service

FILES = noise_at("pets/cat/1.png", "pets/dog/2.png", "pets/cat/3.png")


def post(service: Service, packed: bytes, name: str = "pets.zip", **more: Any) -> httpx.Response:
    return service.client.post("/v1/datasets", files={"file": (name, packed)}, **more)


def created(service: Service, files: dict[str, bytes] = FILES, **more: Any) -> dict[str, Any]:
    answer = post(service, archive(files), **more)
    assert answer.status_code == 201, answer.text
    return answer.json()


def traces(service: Service) -> dict[str, Any]:
    """All that an upload could leave: files and rows."""
    state = service.state
    with transaction(state.sessions) as session:
        tables = (Dataset, Image, Component, IdempotencyKey)
        counts = {
            each.__tablename__: session.scalar(select(func.count()).select_from(each))
            for each in tables
        }
    return counts | {
        "blobs": list(state.blobs.keys()),
        "folders": [path.name for path in state.blobs.root.glob("datasets/*")],
        "scratch": [path.name for path in state.blobs.scratch.iterdir()],
    }
