"""A store with something of everything, and all that can be seen of one from outside."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.settings import Settings
from tests.support.client import WAIT, compose, delete, predict, until_ended
from tests.support.images import archive, image
from tests.support.service import KEY_FREE, Service


def settings_of(folder: Path, url: str | None = None) -> Settings:
    """Return settings of this folder and this Postgres database; SQLite without one."""
    given = KEY_FREE | {"data_dir": folder, "database_url": url, "device": "cpu", "threads": 1}
    return Settings(**given)


@dataclass(frozen=True)
class Filled:
    """The ids in a filled store."""

    kept: str  # ready components
    other: str
    queued: str
    dataset: str  # of `kept`


def fill(service: Service) -> Filled:
    """Make components, a composition, results, a queued training and two receipts."""
    kept, other = service.component({"cat": 4, "dog": 4}), service.component({"cow": 4}, start=9)
    gone = service.component({"hen": 3})
    compose(service, "both", [kept, other], rule="joint")
    dataset = service.client.get(f"/v1/components/{kept}").json()["dataset_id"]
    body = {"dataset_id": dataset, "composition": "both"}
    assert service.client.post("/v1/evaluations", json=body, headers=WAIT).status_code == 201
    delete(service, f"components/{gone}")
    images = service.client.get(f"/v1/datasets/{dataset}/images").json()["data"]
    delete(service, f"datasets/{dataset}/images/{images[0]['id']}")
    batch = {"file": ("images.zip", archive({"cat": 2}, 30))}
    made = service.client.post("/v1/batch-predictions", files=batch).json()
    assert until_ended(service, f"batch-predictions/{made['id']}")["status"] == "ready"
    return Filled(kept, other, service.queued(dataset), dataset)


def seen(service: Service) -> dict[str, Any]:
    """Return every answer to a read, without what differs from one request to the next."""
    found: dict[str, Any] = {}
    nouns = ("spaces", "datasets", "components", "compositions", "evaluations", "receipts")
    for noun in (*nouns, "batch-predictions"):
        found[noun] = service.client.get(f"/v1/{noun}?limit=100").json()
    found["head"] = service.client.get("/v1/receipts/head").json()
    for row in found["datasets"]["data"]:
        path = f"/v1/datasets/{row['id']}/images"
        found[path] = service.client.get(f"{path}?limit=100").json()
        for each in found[path]["data"]:
            found[each["id"]] = sha256(service.client.get(f"{path}/{each['id']}").content)
    for row in found["components"]["data"]:
        path = f"/v1/components/{row['id']}"
        file = service.client.get(f"{path}/delta")
        found[f"{path}/delta"] = sha256(file.content) if file.is_success else file.status_code
        found[f"{path}/events"] = service.client.get(f"{path}/events?after=0").json()
    for row in found["batch-predictions"]["data"]:
        path = f"/v1/batch-predictions/{row['id']}/results"
        found[path] = sha256(service.client.get(path).content)
    fields = {"rule": "average", "top_k": "9", "return": "logits"}
    answer = predict(service, image("cat", 60), image("cow", 61), **fields).json()
    found["prediction"] = {name: answer[name] for name in ("components", "results")}
    return found


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def files(service: Service) -> dict[str, str]:
    """Return the SHA-256 of every blob."""
    blobs = service.state.blobs
    keys = list(blobs.keys())
    return {key: sha256(blobs.path(key).read_bytes()) for key in keys}
