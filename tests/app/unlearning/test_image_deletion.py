"""Unlearning one image: the service is, byte for byte, as one that never had it."""

import hashlib
import io
import zipfile

import pytest

import tangent
from app.database.sessions import transaction
from app.store import components
from tests.support.client import delete, upload, verify
from tests.support.images import image, packed
from tests.support.unlearning import COUNTS, FILES, SPACES, WITHOUT, delta, image_id, occurrences


@pytest.mark.parametrize("space", ["default", "declared"])
@pytest.mark.parametrize("settings", [{}, {"views": 4}, {"l2": 0.01, "beta": 3.0}, {"l2": "auto"}])
def test_an_exact_component_has_at_once_the_file_of_a_world_without_the_image(
    serve, space, settings
):
    made = []
    for files in (FILES, WITHOUT):
        service = serve()
        if SPACES[space]:
            service.client.post("/v1/spaces", json={"name": space} | SPACES[space])
        dataset_id = upload(service, packed(files))["id"]
        component_id = service.train(
            service.queued(dataset_id, space=space, hyperparameters=settings)
        )
        made.append((service, dataset_id, component_id))
    (service, dataset_id, component_id), (never, _, other) = made
    before = service.client.get(f"/v1/components/{component_id}").json()

    receipt = delete(service, f"datasets/{dataset_id}/images/{image_id(service, dataset_id)}")

    after = service.client.get(f"/v1/components/{component_id}").json()
    expected = never.client.get(f"/v1/components/{other}").json()
    assert delta(service, component_id).content == delta(never, other).content
    assert {name: after[name] for name in ("status", "sha256", "bytes", "images", "labels")} == {
        name: expected[name] for name in ("status", "sha256", "bytes", "images", "labels")
    }
    known = {"environment", "l2"} | ({"l2_chosen_by"} & {*expected["metrics"]})
    assert set(after["metrics"]) == known and after["sha256"] != before["sha256"]
    assert {name: after["metrics"][name] for name in known} == {
        name: expected["metrics"][name] for name in known
    }
    assert receipt["body"]["components"] == [
        {
            "id": component_id,
            "outcome": "down_dated",
            "old_sha256": before["sha256"],
            "new_sha256": after["sha256"],
        }
    ]
    found = service.client.post(f"/v1/receipts/{receipt['id']}/verify").json()
    assert found["ok"] and found["manifest_ok"], found


def test_nothing_tells_of_the_image_any_more(serve):
    service = serve()
    kept = upload(service, packed([("cow", n) for n in range(3)]))
    made = upload(service, packed([*FILES, ("Quittengelee", 77)]))
    dataset_id, secret = made["id"], ("Quittengelee", 77)
    component_id = service.train(service.queued(dataset_id))
    gone = image_id(service, dataset_id, secret)
    path = f"/v1/datasets/{dataset_id}/images/{gone}"
    sha256 = hashlib.sha256(image(*secret)).hexdigest()
    traces = [b"Quittengelee", sha256.encode(), image(*secret)[60:], made["sha256"].encode()]
    (key,) = service.state.blobs.keys(f"components/{component_id}")
    component = tangent.Component.load(service.state.blobs.path(key))
    traces.append(component.head.numpy().tobytes()[:512])
    traces.append(component.statistics.triangle.units.words.numpy().tobytes()[:512])
    assert all(occurrences(service, trace) for trace in traces)

    receipt = delete(service, path.removeprefix("/v1/"))

    assert [trace for trace in traces if occurrences(service, trace)] == []
    shown = service.client.get(f"/v1/datasets/{dataset_id}").json()
    files = sum(len(image(*each)) for each in FILES)
    assert (shown["num_images"], shown["labels"], shown["bytes"]) == (
        9,
        COUNTS,
        files,
    )
    assert shown["sha256"] is None
    assert service.client.get("/v1/spaces/default").json()["labels"] == ["cat", "dog"]
    body, salt = receipt["body"], receipt["body"]["salt"]
    assert body["salted_image_sha256"] == [hashlib.sha256(f"{salt}:{sha256}".encode()).hexdigest()]
    assert body["labels"][0]["count"] == 1
    for method in ("GET", "DELETE"):
        answer = service.client.request(method, path)
        assert (answer.status_code, answer.json()["code"]) == (410, "image_deleted")
        assert answer.json()["receipt_id"] == receipt["id"]
    other = service.client.delete(f"/v1/datasets/{kept['id']}/images/{gone}")
    assert (other.status_code, other.json()["code"]) == (404, "image_not_found")
    for left in FILES:
        url = f"/v1/datasets/{dataset_id}/images/{image_id(service, dataset_id, left)}"
        assert service.client.get(url).content == image(*left)


def test_no_event_of_a_failed_training_names_the_image_that_failed(serve):
    service = serve()
    dataset_id = upload(service, packed([*FILES, ("Quittengelee", 77)]))["id"]
    component_id = service.queued(dataset_id)
    with transaction(service.state.sessions) as session:
        components.start(session, component_id, executor_id="w")
        detail = "image Quittengelee/0077.png of the dataset cannot be read: delete this image"
        components.fail(session, component_id, code="unreadable_image", detail=detail)
    gone = image_id(service, dataset_id, ("Quittengelee", 77))

    receipt = delete(service, f"datasets/{dataset_id}/images/{gone}")

    assert not occurrences(service, b"Quittengelee")
    events = service.client.get(f"/v1/components/{component_id}/events").text
    assert "the image that failed was deleted: train again" in events
    assert verify(service, receipt)["ok"]


def test_the_last_image_goes_with_its_dataset_only(shared):
    dataset_id = upload(shared, packed([("cat", 0), ("cat", 1)]))["id"]
    delete(shared, f"datasets/{dataset_id}/images/{image_id(shared, dataset_id, ('cat', 0))}")
    last = image_id(shared, dataset_id, ("cat", 1))

    answer = shared.client.delete(f"/v1/datasets/{dataset_id}/images/{last}")

    assert (answer.status_code, answer.json()["code"]) == (409, "dataset_would_be_empty")
    assert shared.client.get(f"/v1/datasets/{dataset_id}/images/{last}").status_code == 200
    delete(shared, f"datasets/{dataset_id}")
    answer = shared.client.delete(f"/v1/datasets/{dataset_id}/images/{last}")
    assert (answer.status_code, answer.json()["code"]) == (410, "dataset_deleted")
    answer = shared.client.delete(f"/v1/datasets/ds_none/images/{last}")
    assert (answer.status_code, answer.json()["code"]) == (404, "dataset_not_found")


def test_copies_of_the_image_are_not_counted_any_more(shared):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for path in ("cat/1.png", "cat/copy.png", "cat/again.png", "dog/1.png"):
            archive.writestr(path, image("cat", 1))
        archive.writestr("dog/2.png", image("dog", 2))
    answer = shared.client.post("/v1/datasets", files={"file": ("a.zip", file.getvalue())})
    made = answer.json()
    assert (made["num_images"], made["duplicates"]) == (3, 3)
    listed = shared.client.get(f"/v1/datasets/{made['id']}/images").json()["data"]
    cat, dog = (next(x for x in listed if x["path"] == path) for path in ("cat/1.png", "dog/1.png"))

    receipt = delete(shared, f"datasets/{made['id']}/images/{cat['id']}")

    shown = shared.client.get(f"/v1/datasets/{made['id']}").json()
    assert (shown["num_images"], shown["duplicates"]) == (2, 0)  # as of the two dogs alone
    url = f"/v1/datasets/{made['id']}/images/{dog['id']}"
    assert shared.client.get(url).content == image("cat", 1)  # the other label's bytes stay
    assert shared.client.post(f"/v1/receipts/{receipt['id']}/verify").json()["ok"]


def test_a_component_trained_by_iteration_is_dropped_at_once_and_trained_anew(serve):
    made = []
    for files in (FILES, WITHOUT):
        service = serve()
        service.client.post("/v1/spaces", json={"name": "blocks"} | SPACES["blocks"])
        dataset_id = upload(service, packed(files))["id"]
        ids = [service.train(service.queued(dataset_id, "blocks"))]
        adam = {"solver": "adam", "epochs": 2}
        ids.append(service.train(service.queued(dataset_id, hyperparameters=adam)))
        made.append((service, dataset_id, ids))
    (service, dataset_id, ids), (never, _, others) = made
    old = [service.client.get(f"/v1/components/{each}").json()["sha256"] for each in ids]
    keys = list(service.state.blobs.keys("components"))

    receipt = delete(service, f"datasets/{dataset_id}/images/{image_id(service, dataset_id)}")

    assert receipt["body"]["components"] == [
        {"id": each, "outcome": "retraining"} for each in sorted(ids)
    ]
    assert not set(keys) & set(service.state.blobs.keys("components"))
    assert not any(occurrences(service, trace.encode()) > 1 for trace in old)  # but in the receipt
    for each in ids:
        shown = service.client.get(f"/v1/components/{each}").json()
        assert (shown["status"], shown["retraining"], shown["sha256"]) == ("queued", True, None)
        assert (shown["metrics"], shown["images"]) == ({}, {"cat": 5, "dog": 3})
        events = service.client.get(f"/v1/components/{each}/events").json()["data"]
        told = {"status": "queued", "outcome": "retraining", "receipt_id": receipt["id"]}
        assert [event["data"] for event in events] == [told]
        assert delta(service, each).json()["code"] == "component_not_ready"
    assert service.client.post(f"/v1/receipts/{receipt['id']}/verify").json()["ok"]
    for each, other in zip(ids, others, strict=True):
        service.train(each)
        assert delta(service, each).content == delta(never, other).content
        assert not service.client.get(f"/v1/components/{each}").json()["retraining"]
    assert service.client.post(f"/v1/receipts/{receipt['id']}/verify").json()["ok"]
