"""An addition of images that is sent again with its Idempotency-Key adds nothing, ever."""

from typing import Any

import httpx

from tests.support.archives import archive
from tests.support.client import delete, upload
from tests.support.images import image
from tests.support.service import Service

OLD = {f"{label}/{n}.png": image(label, n) for label, n in (("cat", 1), ("cat", 2), ("dog", 1))}
NEW = {
    "cat/1-again.png": image("cat", 1),  # held already
    "cat/3.png": image("cat", 3),
    "dog/2.png": image("cat", 2),  # held under another label
    "owl/1.png": image("owl", 1),
}


def add(service: Service, dataset_id: str, packed: bytes, **more: Any) -> httpx.Response:
    files = {"file": ("next-week.zip", packed)}
    return service.client.post(f"/v1/datasets/{dataset_id}/images", files=files, **more)


def test_a_repeated_request_with_the_same_key_adds_once(either):
    service = either
    dataset_id = upload(service, archive(OLD))["id"]
    key = {"Idempotency-Key": "week-7"}
    first = add(service, dataset_id, archive(NEW), headers=key)
    gone = service.client.get(f"/v1/datasets/{dataset_id}/images").json()["data"][-1]["id"]
    delete(service, f"datasets/{dataset_id}/images/{gone}")

    again = add(service, dataset_id, archive(NEW), headers=key)

    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.json()["receipt"] == first.json()["receipt"]
    assert again.json()["num_images"] == 5  # the deleted one has not come back
    other = add(service, dataset_id, archive({"cat/9.png": image("cat", 9)}), headers=key)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    receipt = delete(service, f"datasets/{dataset_id}")
    assert {"kind": "idempotency_keys", "count": 1} in receipt["body"]["removed"]
    spent = add(service, dataset_id, archive(NEW), headers=key)
    assert (spent.status_code, spent.json()["code"]) == (410, "dataset_deleted")


def test_a_repeated_request_that_added_nothing_adds_nothing_after_a_deletion(either):
    service = either
    dataset_id = upload(service, archive(OLD))["id"]
    key, copies = {"Idempotency-Key": "week-8"}, archive({"cat/1.png": OLD["cat/1.png"]})
    first = add(service, dataset_id, copies, headers=key)
    assert (first.status_code, first.json()["receipt"]) == (200, None)
    held = service.client.get(f"/v1/datasets/{dataset_id}/images").json()["data"]
    (gone,) = (each["id"] for each in held if each["path"] == "cat/1.png")
    delete(service, f"datasets/{dataset_id}/images/{gone}")

    again = add(service, dataset_id, copies, headers=key)

    assert (again.status_code, again.headers["Idempotent-Replayed"]) == (200, "true")
    assert (again.json()["receipt"], again.json()["num_images"]) == (None, 2)
    other = add(service, dataset_id, archive(NEW), headers=key)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    receipt = delete(service, f"datasets/{dataset_id}")
    assert {"kind": "idempotency_keys", "count": 1} in receipt["body"]["removed"]
