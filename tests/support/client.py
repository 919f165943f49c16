"""The verbs of a client of the service: upload, delete, verify, predict and compose."""

import time
from collections.abc import Callable
from typing import Any

import httpx

from tests.support.images import image
from tests.support.service import Service

WAIT = {"Prefer": "wait"}  # headers of a request for an evaluation that is answered at its end


def upload(service: Service, packed: bytes, **more: Any) -> dict[str, Any]:
    """Upload an archive; return the dataset."""
    files = {"file": ("images.zip", packed)}
    answer = service.client.post("/v1/datasets", files=files, **more)
    assert answer.status_code == 201, answer.text
    return answer.json()


def delete(service: Service, path: str, **query: str) -> dict[str, Any]:
    """Delete what lies at this path; return the receipt."""
    answer = service.client.delete(f"/v1/{path}", params=query or None)
    assert answer.status_code == 200, answer.text
    return answer.json()


def verify(service: Service, receipt: dict[str, Any]) -> dict[str, Any]:
    """Let the service verify its receipt; return what it found."""
    answer = service.client.post(f"/v1/receipts/{receipt['id']}/verify")
    assert answer.status_code == 200, answer.text
    return answer.json()


def predict(service: Service, *images: bytes, query: str = "", **fields: str) -> httpx.Response:
    """Send a form with these images, or one of a cat; return the answer, whatever it is."""
    sent = images or (image("cat", 60),)
    files = [("images", (f"{number}.png", data)) for number, data in enumerate(sent)]
    return service.client.post(f"/v1/predictions{query}", files=files, data=fields)


def compose(
    service: Service,
    name: str,
    components: Any = "all",
    rule: str = "average",
    *,
    status: int | None = None,
    **body: Any,
) -> dict[str, Any]:
    """Save a composition of ids, or of members with weights, or of all; return the composition.

    `status` is 201 for a new composition and 200 for one that replaces another; None for either.
    """
    if not isinstance(components, str):
        components = [{"id": part} if isinstance(part, str) else part for part in components]
    body = {"rule": rule, "components": components} | body
    answer = service.client.put(f"/v1/compositions/{name}", json=body)
    assert answer.status_code in ((200, 201) if status is None else (status,)), answer.text
    return answer.json()


def until_ended(service: Service, path: str, seconds: float = 60.0) -> dict[str, Any]:
    """Return the evaluation or batch prediction at this path, once it has ended."""
    end = time.monotonic() + seconds
    while True:
        answer = service.client.get(f"/v1/{path}")
        assert answer.status_code == 200, answer.text
        if answer.json()["status"] not in ("queued", "running"):
            return answer.json()
        assert time.monotonic() < end, answer.text
        time.sleep(0.02)


def delete_image(service: Service, _component_id: str, dataset_id: str) -> dict[str, Any]:
    """Delete the dataset's first image; return the receipt."""
    images = service.client.get(f"/v1/datasets/{dataset_id}/images").json()["data"]
    return delete(service, f"datasets/{dataset_id}/images/{images[0]['id']}")


def rename(service: Service, _component_id: str, dataset_id: str) -> dict[str, Any]:
    """Rename a label of the dataset; return the receipt."""
    path = f"/v1/datasets/{dataset_id}/labels"
    answer = service.client.post(path, json={"rename": {"cat": "tiger"}})
    assert answer.status_code == 200, answer.text
    return answer.json()["receipt"]


# What removes something that an answer was made of: a component, or a dataset of which no
# component was trained.
DELETIONS: dict[str, Callable[[Service, str, str], dict[str, Any]]] = {
    "component": lambda service, component_id, _: delete(service, f"components/{component_id}"),
    "dataset": lambda service, _, dataset_id: delete(service, f"datasets/{dataset_id}"),
    "image": delete_image,
    "labels": rename,
}
