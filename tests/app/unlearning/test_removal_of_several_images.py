"""Several images unlearned by one request: all or none, with one receipt, as never added."""

import pytest

from tests.support.client import delete, upload, verify
from tests.support.images import packed
from tests.support.problems import problem
from tests.support.service import Service
from tests.support.unlearning import FILES, SPACES, delta, image_id, unlearn

GONE = [("dog", 2), ("cat", 0), ("dog", 0)]
LEFT = [each for each in FILES if each not in GONE]


@pytest.mark.parametrize("settings", [{}, {"views": 4}, {"l2": "auto"}])
def test_the_service_is_as_one_that_never_had_them(serve, settings):
    made = []
    for files in (FILES, LEFT):
        service = serve()
        dataset_id = upload(service, packed(files))["id"]
        queued = service.queued(dataset_id, hyperparameters=settings)
        made.append((service, dataset_id, service.train(queued)))
    (service, dataset_id, component_id), (never, _, other) = made
    before = service.client.get(f"/v1/components/{component_id}").json()["sha256"]

    receipt = unlearn(service, dataset_id, GONE, params={"probe": "true"})

    assert delta(service, component_id).content == delta(never, other).content
    shown = service.client.get(f"/v1/datasets/{dataset_id}").json()
    assert (shown["num_images"], shown["labels"]) == (6, {"cat": 4, "dog": 2})
    body = receipt["body"]
    assert body["subject"] == {"kind": "several_images", "id": dataset_id}
    assert [each["kind"] for each in body["subjects"]] == ["image"] * 3
    assert len(body["salted_image_sha256"]) == 3
    assert [each["outcome"] for each in body["components"]] == ["down_dated"]
    assert body["components"][0]["old_sha256"] == before
    found = verify(service, receipt)
    assert found["ok"] and found["probe_ok"], found
    for subject in body["subjects"]:
        answer = service.client.get(f"/v1/datasets/{dataset_id}/images/{subject['id']}")
        assert problem(answer, 410, "image_deleted")["receipt_id"] == receipt["id"]


def test_what_was_trained_in_steps_is_trained_again_once(service: Service):
    service.client.post("/v1/spaces", json={"name": "blocks"} | SPACES["blocks"])
    dataset_id = upload(service, packed(FILES))["id"]
    component_id = service.train(service.queued(dataset_id, space="blocks"))
    receipt = unlearn(service, dataset_id, GONE)
    assert [each["outcome"] for each in receipt["body"]["components"]] == ["retraining"]
    service.train(component_id)
    assert service.client.get(f"/v1/components/{component_id}").json()["images"] == {
        "cat": 4,
        "dog": 2,
    }


def test_one_that_is_not_there_keeps_all(service: Service):
    dataset_id = upload(service, packed(FILES))["id"]
    url = f"/v1/datasets/{dataset_id}/images/delete"
    ids = [image_id(service, dataset_id, each) for each in FILES]
    receipt = delete(service, f"datasets/{dataset_id}/images/{ids[0]}")
    gone = problem(service.client.post(url, json={"ids": ids[:2]}), 410, "image_deleted")
    assert gone["receipt_id"] == receipt["id"]
    body = {"ids": [ids[1], "img_none"]}
    problem(service.client.post(url, json=body), 404, "image_not_found")
    problem(service.client.post(url, json={"ids": ids[1:]}), 409, "dataset_would_be_empty")
    problem(service.client.post(url, json={"ids": []}), 422, "invalid_request")
    problem(service.client.post(url, json={"ids": ["a"] * 1001}), 422, "invalid_request")
    assert service.client.get(f"/v1/datasets/{dataset_id}").json()["num_images"] == 8


def test_a_repetition_with_its_key_is_answered_with_the_same_receipt(service: Service):
    dataset_id = upload(service, packed(FILES))["id"]
    ids = [image_id(service, dataset_id, each) for each in GONE]
    url, key = f"/v1/datasets/{dataset_id}/images/delete", {"Idempotency-Key": "batch"}
    first, again = (
        service.client.post(url, json={"ids": ids}, headers=key).json() for _ in range(2)
    )
    assert first == again and len(service.client.get("/v1/receipts").json()["data"]) == 1
    other = service.client.post(url, json={"ids": ids[:1]}, headers=key)
    problem(other, 422, "idempotency_key_reused")
    delete(service, f"datasets/{dataset_id}")
    problem(service.client.post(url, json={"ids": ids}, headers=key), 410, "dataset_deleted")


def test_a_receipt_of_many_images_can_be_verified(either: Service):
    """More than a condition of SQLite may have parts."""
    many = [("cat", number) for number in range(260)]
    dataset_id = upload(either, packed(many))["id"]
    receipt = unlearn_pages(either, dataset_id, keep=2)
    assert len(receipt["body"]["subjects"]) == 258
    found = verify(either, receipt)
    assert found["ok"] and found["residue"] == [], found


def unlearn_pages(service: Service, dataset_id: str, keep: int) -> dict:
    """Delete all images but the last ones, by their ids from the list; return the receipt."""
    ids, after = [], None
    while True:
        query = {"limit": 100} | ({"after": after} if after else {})
        page = service.client.get(f"/v1/datasets/{dataset_id}/images", params=query).json()
        ids += [each["id"] for each in page["data"]]
        if (after := page["next"]) is None:
            break
    body = {"ids": ids[:-keep]}
    answer = service.client.post(f"/v1/datasets/{dataset_id}/images/delete", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()
