"""A key's limits: of rate by bucket, of what it keeps by rows."""

from collections.abc import Callable

import httpx
import pytest

from tests.support.client import WAIT, until_ended
from tests.support.images import archive, image
from tests.support.keys import by, wait_for
from tests.support.problems import problem
from tests.support.service import Service

USER = ("read", "predict", "train")


@pytest.fixture
def guarded(serve: Callable[..., Service]) -> Service:
    return serve(api_key="correct-horse-battery")


def upload(client: httpx.Client, start: int = 0, **fields: str) -> httpx.Response:
    files = {"file": ("images.zip", archive({"cat": 2, "dog": 2}, start), "application/zip")}
    return client.post("/v1/datasets", files=files, data=fields)


def exceeded(answer: httpx.Response, quota: str, limit: int, used: int) -> None:
    refused = problem(answer, 403, "quota_exceeded")
    assert (refused["quota"], refused["limit"], refused["used"]) == (quota, limit, used)
    assert f"{used} of {quota} {limit}" in refused["detail"]


def test_requests_above_the_rate_have_to_wait(guarded: Service):
    with by(guarded, "read", limits={"requests_per_second": 0.01}) as client:
        assert client.get("/v1/spaces").status_code == 200
        answer = client.get("/v1/spaces")
        problem(answer, 429, "rate_limited")
        assert 90 <= int(answer.headers["retry-after"]) <= 100
    assert guarded.client.get("/v1/spaces").status_code == 200  # others do not wait


def test_images_above_the_rate_have_to_wait_whatever_passes_them_through(guarded: Service):
    guarded.component({"cat": 6, "dog": 6})
    dataset_id = guarded.dataset({"cat": 6, "dog": 6})
    pictures = [("images", (f"{number}.png", image("cat", number))) for number in range(8)]

    def refused(answer: httpx.Response) -> bool:
        if answer.status_code != 429:
            return False
        problem(answer, 429, "rate_limited")
        return int(answer.headers["retry-after"]) >= 1

    limits = {"images_per_second": 0.5}
    with by(guarded, *USER, limits=limits) as client:
        assert client.post("/v1/predictions", files=pictures).status_code == 200
        assert refused(client.post("/v1/predictions", files=pictures[:1]))
        assert refused(
            client.post("/v1/evaluations", json={"dataset_id": dataset_id}, headers=WAIT)
        )
        assert client.get("/v1/spaces").status_code == 200  # no image in it
    with by(guarded, *USER, limits=limits) as client:
        assert (
            client.post(
                "/v1/evaluations", json={"dataset_id": dataset_id}, headers=WAIT
            ).status_code
            == 201
        )
        assert refused(client.post("/v1/predictions", files=pictures[:1]))


def test_images_of_a_calibration_dataset_count_once(guarded: Service):
    guarded.component({"cat": 6, "dog": 6})
    named = {"calibration_dataset": guarded.dataset({"cat": 4, "dog": 4}, start=50)}
    picture = [("images", ("1.png", image("cat", 1)))]

    def ask(client: httpx.Client, **fields: str) -> httpx.Response:
        return client.post("/v1/predictions", files=picture, data=fields)

    def waiting(answer: httpx.Response) -> int:
        problem(answer, 429, "rate_limited")
        return int(answer.headers["retry-after"])

    slow = {"images_per_second": 0.01}
    with by(guarded, *USER, limits=slow) as client:
        assert ask(client, **named).status_code == 200
        assert 850 <= waiting(ask(client)) <= 900  # for 1 + 8 images
    with by(guarded, *USER, limits=slow) as client:
        assert ask(client, **named).status_code == 200  # its temperature is known: one image
        assert waiting(ask(client)) <= 100


def test_a_key_keeps_no_more_datasets_than_its_quota(guarded: Service):
    with by(guarded, *USER, limits={"max_datasets": 2}) as client:
        first = upload(client).json()["id"]
        assert upload(client, 10).status_code == 201
        exceeded(upload(client, 20), "max_datasets", 2, 2)
        assert client.delete(f"/v1/datasets/{first}").status_code == 200
        assert upload(client, 20).status_code == 201
    assert len(list(guarded.state.blobs.keys("datasets"))) == 2  # what was refused left nothing


def test_a_key_keeps_no_more_bytes_than_its_quota(guarded: Service):
    with by(guarded, *USER) as client:
        answer = upload(client)
        pack = next(iter(guarded.state.blobs.keys("datasets")))
        size = guarded.state.blobs.path(pack).stat().st_size
        client.delete(f"/v1/datasets/{answer.json()['id']}")
    with by(guarded, *USER, limits={"max_bytes": size}) as client:
        assert upload(client).status_code == 201
        exceeded(upload(client), "max_bytes", size, size)
    with by(guarded, *USER, limits={"max_bytes": size - 1}) as client:
        exceeded(upload(client), "max_bytes", size - 1, 0)


def test_images_that_come_count_for_the_key_that_has_made_the_dataset_whoever_adds_them(
    guarded: Service,
):
    def add(client: httpx.Client) -> httpx.Response:
        files = {"file": ("more.zip", archive({"cat": 1}, 50))}
        return client.post(f"/v1/datasets/{made['id']}/images", files=files)

    with by(guarded, *USER) as client:
        made = upload(client).json()
    pack = next(iter(guarded.state.blobs.keys("datasets")))
    size = guarded.state.blobs.path(pack).stat().st_size
    with by(guarded, *USER, limits={"max_bytes": 1}) as other:
        assert add(other).status_code == 200  # none of its own
    guarded.client.delete(f"/v1/datasets/{made['id']}")
    with by(guarded, *USER, limits={"max_bytes": size}) as client, by(guarded, *USER) as other:
        made = upload(client).json()
        exceeded(add(other), "max_bytes", size, size)


def test_imported_components_count_as_bytes(guarded: Service):
    component_id = guarded.component({"cat": 6, "dog": 6})
    file = guarded.client.get(f"/v1/components/{component_id}/delta").content
    with by(guarded, *USER, limits={"max_bytes": 2 * len(file) - 1}) as client:
        sent = {"file": ("a.safetensors", file)}
        answer = client.post("/v1/components/import", files=sent, data={"allow_duplicate": "true"})
        assert answer.status_code == 201, answer.text
        size = answer.json()["bytes"]
        exceeded(
            client.post("/v1/components/import", files=sent, data={"allow_duplicate": "true"}),
            "max_bytes",
            2 * len(file) - 1,
            size,
        )
    assert len(list(guarded.state.blobs.keys("components"))) == 2


def test_a_key_has_no_more_trainings_queued_than_its_quota(guarded: Service):
    with by(guarded, *USER, limits={"max_queued_trainings": 1}) as client:
        dataset = upload(client, train="true").json()
        again = {"dataset_id": dataset["id"]}
        exceeded(client.post("/v1/components", json=again), "max_queued_trainings", 1, 1)
        exceeded(upload(client, 10, train="true"), "max_queued_trainings", 1, 1)
        assert upload(client, 10).status_code == 201
        guarded.train(dataset["component"]["id"])
        assert client.post("/v1/components", json=again).status_code == 202
        parent = {"operator": "task_arithmetic", "parents": [{"id": dataset["component"]["id"]}]}
        answer = client.post("/v1/components/derive", json=parent)
        exceeded(answer, "max_queued_trainings", 1, 1)


def test_a_repeated_request_needs_no_room(guarded: Service):
    head = {"Idempotency-Key": "once"}
    with by(guarded, *USER, limits={"max_datasets": 1}) as client:
        client.headers.update(head)
        first, again = upload(client), upload(client)
        assert (first.status_code, again.status_code) == (201, 201)
        assert first.json()["id"] == again.json()["id"]


def test_what_others_have_made_does_not_count(guarded: Service):
    guarded.dataset({"cat": 2})
    with by(guarded, *USER) as client:
        assert upload(client, 10).status_code == 201
    with by(guarded, *USER, limits={"max_datasets": 1}) as client:
        assert upload(client, 20).status_code == 201


def test_a_key_makes_no_more_spaces_than_its_quota(guarded: Service):
    def make(client: httpx.Client, name: str) -> httpx.Response:
        body = {"name": name, "backbone": "resnet_micro_32", "scope": "head"}
        return client.post("/v1/spaces", json=body)

    with by(guarded, *USER, limits={"max_spaces": 1}) as client:
        assert make(client, "first").status_code == 201
        exceeded(make(client, "second"), "max_spaces", 1, 1)
        problem(guarded.client.get("/v1/spaces/second"), 404, "space_not_found")
        taken = guarded.client.patch("/v1/spaces/first", json={"owner": None})
        assert taken.status_code == 200, taken.text
        assert make(client, "second").status_code == 201


def test_a_key_keeps_no_more_components_than_its_quota_whatever_became_of_them(guarded: Service):
    with by(guarded, *USER, limits={"max_components": 2}) as client:
        dataset = upload(client, train="true").json()
        again = {"dataset_id": dataset["id"]}
        guarded.train(dataset["component"]["id"])
        cancelled = client.post("/v1/components", json=again).json()["id"]
        assert client.post(f"/v1/components/{cancelled}/cancel").status_code == 200

        exceeded(client.post("/v1/components", json=again), "max_components", 2, 2)
        exceeded(upload(client, 10, train="true"), "max_components", 2, 2)
        parent = {"operator": "task_arithmetic", "parents": [{"id": dataset["component"]["id"]}]}
        exceeded(client.post("/v1/components/derive", json=parent), "max_components", 2, 2)
        file = client.get(f"/v1/components/{dataset['component']['id']}/delta").content
        answer = client.post(
            "/v1/components/import",
            files={"file": ("a.safetensors", file)},
            data={"allow_duplicate": "true"},
        )
        exceeded(answer, "max_components", 2, 2)

        assert client.delete(f"/v1/components/{cancelled}").status_code == 200
        assert client.post("/v1/components", json=again).status_code == 202


def test_a_key_keeps_no_more_compositions_than_its_quota(guarded: Service):
    def put(client: httpx.Client, name: str, rule: str = "average") -> httpx.Response:
        body = {"rule": rule, "components": "all"}
        return client.put(f"/v1/compositions/{name}", json=body)

    assert put(guarded.client, "theirs").status_code == 201
    with by(guarded, *USER, limits={"max_compositions": 1}) as client:
        assert put(client, "a").status_code == 201
        exceeded(put(client, "b"), "max_compositions", 1, 1)
        assert put(client, "a", "joint").status_code == 200  # to replace one takes no room
        assert put(client, "theirs", "joint").status_code == 200
        assert client.delete("/v1/compositions/a").status_code == 204
        assert put(client, "b").status_code == 201


def test_a_key_keeps_no_more_evaluations_than_its_quota(guarded: Service):
    guarded.component({"cat": 2, "dog": 2})
    body = {"dataset_id": guarded.dataset({"cat": 2}, 10)}
    with by(guarded, *USER, limits={"max_evaluations": 1, "images_per_second": 3}) as client:
        made = client.post("/v1/evaluations", json=body, headers={"Idempotency-Key": "a"}).json()
        exceeded(client.post("/v1/evaluations", json=body, headers=WAIT), "max_evaluations", 1, 1)
        again = client.post("/v1/evaluations", json=body, headers={"Idempotency-Key": "a"})
        assert again.json()["id"] == made["id"]

        assert client.delete(f"/v1/evaluations/{made['id']}").status_code == 204
        problem(client.get(f"/v1/evaluations/{made['id']}"), 404, "evaluation_not_found")
        problem(client.delete(f"/v1/evaluations/{made['id']}"), 404, "evaluation_not_found")
        with by(guarded, *USER) as other:
            once = other.post("/v1/evaluations", json=body, headers={"Idempotency-Key": "a"})
        assert once.status_code == 202


def test_a_key_has_no_more_requests_open_than_its_limit(guarded: Service):
    with by(guarded, *USER, limits={"max_concurrent_requests": 2}) as client:
        component = upload(client, train="true").json()["component"]["id"]
        stream = f"/v1/components/{component}/events", {"Accept": "text/event-stream"}
        with client.stream("GET", stream[0], headers=stream[1]) as first:
            assert first.status_code == 200
            with client.stream("GET", stream[0], headers=stream[1]) as second:
                assert second.status_code == 200
                refused = client.get("/v1/spaces")
                problem(refused, 429, "too_many_at_once")
                assert int(refused.headers["retry-after"]) >= 1
                assert guarded.client.get("/v1/spaces").status_code == 200  # others are let in
            # The service notices within a moment that the client has closed a stream.
            wait_for(lambda: client.get("/v1/spaces").status_code == 200)


def batch(guarded: Service, client: httpx.Client, **body: object) -> dict:
    """Request a batch prediction; return it as it has ended."""
    made = client.post("/v1/batch-predictions", **body)
    assert made.status_code == 202, made.text
    return until_ended(guarded, f"batch-predictions/{made.json()['id']}")


def test_results_count_when_they_are_made(guarded: Service):
    guarded.component({"cat": 3, "dog": 3})
    large = {"json": {"dataset_id": guarded.dataset({"cat": 30}, start=20)}}
    small = {"json": {"dataset_id": guarded.dataset({"cat": 1}, start=60)}}
    with by(guarded, *USER, limits={"max_bytes": 2500}) as client:
        failed = batch(guarded, client, **large)
        assert (failed["status"], failed["error"]["code"]) == ("failed", "quota_exceeded")
        assert list(guarded.state.blobs.keys("batch_predictions")) == []
        assert batch(guarded, client, **small)["status"] == "ready"


def test_results_take_the_place_of_their_archive(guarded: Service):
    guarded.component({"cat": 3, "dog": 3})
    files = {"file": ("images.zip", archive({"cat": 3}))}
    with by(guarded, *USER, limits={"max_bytes": 9500}) as client:
        assert batch(guarded, client, files=files)["status"] == "ready"
