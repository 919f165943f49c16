"""Batch predictions: a line for each image, equal to its prediction; deletions take them back."""

import csv
import io
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from app.database.sessions import transaction
from app.database.tables import BatchPrediction
from tests.support.archives import archive as packed_in
from tests.support.client import DELETIONS, delete, until_ended
from tests.support.flips import flip_bit
from tests.support.held_passes import HeldPasses
from tests.support.images import archive, image
from tests.support.keys import by
from tests.support.problems import problem
from tests.support.service import Service
from tests.support.two_components import TwoComponents

SCOPE = "head"
PATH = "/v1/batch-predictions"
COUNTS = {"cat": 3, "cow": 2}
NEAR = 1e-4  # of a logit, between passes with other images


def begun(service: Service, **body: Any) -> str:
    """Queue the prediction of a dataset; return its path without /v1."""
    answer = service.client.post(PATH, json=body)
    assert answer.status_code == 202, answer.text
    assert answer.headers["location"] == f"{PATH}/{answer.json()['id']}"
    return f"batch-predictions/{answer.json()['id']}"


def sent(service: Service, file: bytes, **fields: str) -> httpx.Response:
    """Send an archive."""
    return service.client.post(PATH, files={"file": ("images.zip", file)}, data=fields)


def lines(service: Service, path: str) -> list[dict[str, Any]]:
    answer = service.client.get(f"/v1/{path}/results")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/jsonl"
    return [json.loads(line) for line in answer.text.splitlines()]


def rows(service: Service, path: str) -> list[dict[str, str]]:
    answer = service.client.get(f"/v1/{path}/results?format=csv")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    return list(csv.DictReader(io.StringIO(answer.text, newline="")))


def blobs(service: Service) -> list[str]:
    return list(service.state.blobs.keys("batch_predictions"))


def predicted(two: TwoComponents, data: bytes, **fields: str) -> list[dict[str, Any]]:
    """Return the labels that a prediction of this image alone has."""
    return two.post(data, **fields).json()["results"][0]["predictions"]


def near(found: list[dict[str, Any]], wanted: list[dict[str, Any]]) -> bool:
    return all(
        one["label"] == other["label"]
        and abs(one["logit"] - other["logit"]) < NEAR
        and abs(one["probability"] - other["probability"]) < NEAR
        for one, other in zip(found, wanted, strict=True)
    )


def test_each_line_is_what_a_prediction_of_the_image_answers(two: TwoComponents) -> None:
    dataset_id = two.service.dataset(COUNTS, start=400)
    path = begun(two.service, dataset_id=dataset_id, top_k=3)
    done = until_ended(two.service, path)
    assert (done["status"], done["num_errors"]) == ("ready", 0)
    assert done["progress"] == {"done": 5, "total": 5}
    images = two.service.client.get(f"/v1/datasets/{dataset_id}/images").json()["data"]
    found = lines(two.service, path)
    assert [line["index"] for line in found] == list(range(5))
    for line, each in zip(found, images, strict=True):
        named = line["image_id"], line["path"], line["sha256"], line["true_label"]
        assert named == (each["id"], each["path"], each["sha256"], each["label"])
        url = f"/v1/datasets/{dataset_id}/images/{each['id']}"
        data = two.service.client.get(url).content
        assert near(line["predictions"], predicted(two, data, top_k="3"))


def test_a_deterministic_one_has_the_very_numbers_of_a_prediction(two: TwoComponents) -> None:
    dataset_id = two.service.dataset(COUNTS, start=420)
    asked = {"components": [{"id": two.pets, "weight": 2.0}], "rule": "weighted", "top_k": 2}
    path = begun(two.service, dataset_id=dataset_id, deterministic=True, **asked)
    assert until_ended(two.service, path)["status"] == "ready"
    fields = {"components": json.dumps(asked["components"]), "rule": "weighted", "top_k": "2"}
    names = [(label, 420 + n) for label, count in COUNTS.items() for n in range(count)]
    for line, name in zip(lines(two.service, path), names, strict=True):
        expected = predicted(two, image(*name), deterministic="true", **fields)
        assert line["predictions"] == expected


def test_the_same_request_gives_the_same_bytes_whatever_else_is_answered(
    two: TwoComponents,
) -> None:
    dataset_id = two.service.dataset({"cat": 40, "cow": 40}, start=1000)
    found = set()
    for number in range(3):
        path = begun(two.service, dataset_id=dataset_id)
        for other in range(4 * number):  # beside it
            two.post(image("cat", other), image("dog", other))
        assert until_ended(two.service, path)["status"] == "ready"
        found.add(two.service.client.get(f"/v1/{path}/results").content)
    assert len(found) == 1


def test_the_table_says_the_same_as_the_lines(two: TwoComponents) -> None:
    path = begun(two.service, dataset_id=two.service.dataset(COUNTS, start=440), top_k=2)
    until_ended(two.service, path)
    for row, line in zip(rows(two.service, path), lines(two.service, path), strict=True):
        first, second = line["predictions"]
        for name in ("index", "image_id", "path", "sha256", "true_label"):
            assert row[name] == str(line[name])
        for suffix, each in (("", first), ("_2", second)):
            assert row[f"label{suffix}"] == each["label"]
            assert float(row[f"logit{suffix}"]) == each["logit"]
            assert float(row[f"probability{suffix}"]) == each["probability"]
        assert row["error_code"] == row["error"] == ""


def test_the_results_come_in_the_form_that_the_client_accepts(two: TwoComponents) -> None:
    path = begun(two.service, dataset_id=two.service.dataset({"cat": 1}, start=450))
    until_ended(two.service, path)
    get, url = two.service.client.get, f"/v1/{path}/results"
    table = get(url, headers={"Accept": "text/csv"})
    assert table.content == get(f"{url}?format=csv").content
    assert get(url).content == get(f"{url}?format=jsonl", headers={"Accept": "text/csv"}).content
    assert "attachment" in table.headers["content-disposition"]
    tag = table.headers["etag"]
    known = {"If-None-Match": tag, "Accept": "text/csv"}
    assert get(url, headers=known).status_code == 304
    assert get(url, headers={"If-None-Match": tag}).status_code == 200  # of the other form
    part = get(url, headers={"Range": "bytes=0-9"})
    assert (part.status_code, part.content) == (206, get(url).content[:10])
    problem(get(f"{url}?format=xml"), 422, "invalid_request")


def test_an_archive_needs_no_labels_and_goes_when_its_images_are_predicted(
    two: TwoComponents,
) -> None:
    contents = {
        "b.png": image("cow", 7),
        "deep/down/a.png": image("cat", 7),
        "again.png": image("cow", 7),
        "broken.png": image("cat", 8)[:60],
        "notes.txt": b"no image",
        "=cmd().png": image("dog", 1),
    }
    for kind in ("zip", "tar.gz"):
        answer = sent(two.service, packed_in(contents, kind), top_k="1", rule="average")
        assert answer.status_code == 202, answer.text
        made = answer.json()
        assert made["dataset_id"] is None
        assert made["archive"]["num_images"] == made["progress"]["total"] == 4
        rejected = {each["path"]: each["reason"] for each in made["archive"]["rejected"]}
        assert set(rejected) == {"broken.png", "notes.txt"}
        assert made["archive"]["num_rejected"] == 2
        path = f"batch-predictions/{made['id']}"
        assert until_ended(two.service, path)["status"] == "ready"
        found = lines(two.service, path)
        good = [name for name in contents if name not in rejected]
        assert [line["path"] for line in found] == good
        for line in found:
            assert "image_id" not in line and "true_label" not in line
            expected = predicted(two, contents[line["path"]], top_k="1", rule="average")
            assert near(line["predictions"], expected)
        assert [row["path"] for row in rows(two.service, path)] == good
        kept = [key for key in blobs(two.service) if made["id"] in key]
        assert [key.rpartition(".")[2] for key in kept] == ["csv", "jsonl"]
    assert not list(two.service.state.blobs.scratch.iterdir())


def test_an_image_that_cannot_be_read_has_its_error_and_ends_nothing(service: Service) -> None:
    service.component({"cat": 3, "dog": 3})
    dataset_id = service.dataset({"cat": 3}, start=30)
    (pack,) = [key for key in service.state.blobs.keys("datasets") if dataset_id in key]
    flip_bit(service.state.blobs.path(pack), 8 * len(image("cat", 30)) + 100)  # of the second one
    path = begun(service, dataset_id=dataset_id)
    done = until_ended(service, path)
    assert (done["status"], done["num_errors"]) == ("ready", 1)
    codes = [line.get("error", {}).get("code") for line in lines(service, path)]
    assert codes == [None, "image_damaged", None]
    assert [row["error_code"] for row in rows(service, path)] == ["", "image_damaged", ""]
    assert rows(service, path)[1]["label"] == ""


@pytest.fixture
def held(service: Service, monkeypatch: pytest.MonkeyPatch) -> HeldPasses:
    """A service with a component, whose passes are held back."""
    service.component({"cat": 3, "dog": 3})
    return HeldPasses(monkeypatch)


def test_what_cannot_be_predicted_is_refused_at_once(two: TwoComponents) -> None:
    dataset_id = two.service.dataset({"cat": 1}, start=460)

    def post(**body: Any) -> httpx.Response:
        return two.service.client.post(PATH, json=body)

    problem(post(dataset_id="ds_none"), 404, "dataset_not_found")
    problem(post(dataset_id=dataset_id, composition="none"), 404, "composition_not_found")
    problem(post(dataset_id=dataset_id, labels=["none"]), 422, "unknown_label")
    problem(post(dataset_id=dataset_id, top_k=101), 422, "invalid_request")
    problem(post(dataset_id=dataset_id, deterministc=True), 422, "invalid_request")
    problem(post(), 422, "invalid_request")
    problem(two.service.client.post(PATH, content=b"x"), 415, "unsupported_media_type")
    problem(sent(two.service, b"x"), 415, "not_an_archive")
    problem(sent(two.service, archive({"cat": 1}), labels="none"), 422, "unknown_label")
    problem(sent(two.service, archive({"cat": 1}), dataset_id="ds_1"), 422, "invalid_request")
    empty = packed_in({"a.txt": b"no image"}, "zip")
    assert problem(sent(two.service, empty), 422, "no_images")["num_rejected"] == 1
    no_file = {"rule": (None, "average")}
    refused = problem(two.service.client.post(PATH, files=no_file), 422, "invalid_request")
    assert "file" in refused["detail"]
    problem(two.service.client.get(f"{PATH}/bp_none"), 404, "batch_prediction_not_found")
    problem(two.service.client.get(f"{PATH}/bp_none/results"), 404, "batch_prediction_not_found")
    assert not list(two.service.state.blobs.scratch.iterdir())


def test_a_cancelled_one_has_no_results_and_no_archive(service: Service, held: HeldPasses) -> None:
    path = f"batch-predictions/{sent(service, archive({'cat': 3}, 9)).json()['id']}"
    held.wait_for_one()
    problem(service.client.get(f"/v1/{path}/results"), 409, "batch_prediction_not_ready")
    assert len(blobs(service)) == 1
    cancelled = service.client.post(f"/v1/{path}/cancel").json()
    assert cancelled["status"] == "cancelled"
    assert blobs(service) == []
    held.go.set()
    other = begun(service, dataset_id=service.dataset({"cat": 1}, start=70))
    assert until_ended(service, other)["status"] == "ready"
    assert service.client.get(f"/v1/{path}").json() == cancelled
    refused = service.client.post(f"/v1/{path}/cancel")
    problem(refused, 409, "batch_prediction_finished")
    assert not list(service.state.blobs.scratch.iterdir())


def test_a_deleted_one_leaves_nothing_also_while_it_is_computed(
    service: Service, held: HeldPasses
) -> None:
    path = f"batch-predictions/{sent(service, archive({'cat': 3}, 9)).json()['id']}"
    held.wait_for_one()
    assert service.client.delete(f"/v1/{path}").status_code == 204
    problem(service.client.get(f"/v1/{path}"), 404, "batch_prediction_not_found")
    held.go.set()
    other = begun(service, dataset_id=service.dataset({"cat": 1}, start=70))
    until_ended(service, other)
    assert service.client.delete(f"/v1/{other}").status_code == 204
    assert blobs(service) == []
    assert not list(service.state.blobs.scratch.iterdir())
    assert service.client.get(PATH).json()["data"] == []


def test_the_list_comes_in_pages_and_by_dataset(two: TwoComponents) -> None:
    dataset_id = two.service.dataset({"cat": 1}, start=470)
    made = [begun(two.service, dataset_id=dataset_id).rpartition("/")[2] for _ in range(3)]
    for each in made:
        until_ended(two.service, f"batch-predictions/{each}")
    first = two.service.client.get(f"{PATH}?dataset_id={dataset_id}&limit=2").json()
    assert ([each["id"] for each in first["data"]], first["has_more"]) == (made[:2], True)
    rest = two.service.client.get(f"{PATH}?dataset_id={dataset_id}&after={first['next']}").json()
    assert [each["id"] for each in rest["data"]] == made[2:]


@pytest.mark.parametrize("what", DELETIONS)
@pytest.mark.parametrize("when", ["queued", "running", "ready"])
def test_a_deletion_of_what_it_uses_takes_its_results_back(
    service: Service, monkeypatch: pytest.MonkeyPatch, what: str, when: str
) -> None:
    part = service.component({"cat": 3, "dog": 3})
    dataset_id = service.dataset({"cat": 3, "dog": 1}, start=50)
    held = HeldPasses(monkeypatch)
    if when == "ready":
        held.go.set()
    elif when == "queued":  # behind two others
        other = service.dataset({"cat": 1}, start=80)
        for number in (1, 2):
            begun(service, dataset_id=other)
            held.wait_for(number)
    path = begun(service, dataset_id=dataset_id)
    if when == "running":
        held.wait_for_one()
    elif when == "ready":
        until_ended(service, path)
        assert len(blobs(service)) == 2
    receipt = DELETIONS[what](service, part, dataset_id)
    held.go.set()
    found = until_ended(service, path)
    assert (found["status"], found["invalidated_by"]) == ("invalidated", receipt["id"])
    gone = problem(service.client.get(f"/v1/{path}/results"), 410, "results_invalidated")
    assert gone["receipt_id"] == receipt["id"]
    assert found["id"] in receipt["body"]["invalidated"]["batch_predictions"]
    files = [each for each in receipt["body"]["removed"] if "batch" in each["kind"]]
    wanted = {"batch_prediction_files"} if when == "ready" else set()
    assert {each["kind"] for each in files} - {"batch_prediction_members"} == wanted
    kept = [key for key in blobs(service) if found["id"] in key]
    assert kept == []
    verified = service.client.post(f"/v1/receipts/{receipt['id']}/verify").json()
    assert verified["ok"], verified


def test_a_deletion_names_no_part_of_an_invalidated_one(service: Service) -> None:
    part = service.component({"cat": 3, "dog": 3})
    path = f"batch-predictions/{sent(service, archive({'cat': 3}, 9)).json()['id']}"
    until_ended(service, path)
    preview = service.client.get(f"/v1/components/{part}/deletion-preview").json()
    assert preview["batch_predictions"] == 1
    delete(service, f"components/{part}")
    assert part not in service.client.get(f"/v1/{path}").text
    assert blobs(service) == []


def test_a_key_keeps_no_more_than_its_quotas(serve: Callable[..., Service]) -> None:
    guarded = serve(api_key="correct-horse-battery")
    guarded.component({"cat": 3, "dog": 3})
    dataset_id = guarded.dataset({"cat": 2}, start=20)
    limits = {"max_batch_predictions": 1}
    with by(guarded, "read", "predict", limits=limits) as client:
        head = {"Idempotency-Key": "once"}
        first = client.post(PATH, json={"dataset_id": dataset_id}, headers=head)
        assert first.status_code == 202, first.text
        again = client.post(PATH, json={"dataset_id": dataset_id}, headers=head)
        assert (again.json()["id"], again.headers["idempotent-replayed"]) == (
            first.json()["id"],
            "true",
        )
        refused = problem(client.post(PATH, json={"dataset_id": dataset_id}), 403, "quota_exceeded")
        assert refused["quota"] == "max_batch_predictions"
        until_ended(guarded, f"batch-predictions/{first.json()['id']}")
        assert client.delete(f"{PATH}/{first.json()['id']}").status_code == 204
        assert client.post(PATH, json={"dataset_id": dataset_id}).status_code == 202
    with by(guarded, "read", "predict", limits={"max_bytes": 100}) as client:
        files = {"file": ("images.zip", archive({"cat": 3}))}
        refused = problem(client.post(PATH, files=files), 403, "quota_exceeded")
        assert refused["quota"] == "max_bytes"
    with by(guarded, "read") as client:
        problem(client.post(PATH, json={"dataset_id": dataset_id}), 403, "scope_missing")
    entries = guarded.client.get("/v1/audit?limit=100").json()["data"]
    made = [each for each in entries if each["action"] == "POST /v1/batch-predictions"]
    assert first.json()["id"] in made[0]["objects"]


def test_others_see_nothing_of_it_where_they_do_not_see_the_space(
    serve: Callable[..., Service],
) -> None:
    guarded = serve(api_key="correct-horse-battery")
    with by(guarded, "read", "predict", "train") as owner, by(guarded, "read", "predict") as other:
        body = {"name": "own", "backbone": "resnet_micro_32", "scope": "head"}
        assert owner.post("/v1/spaces", json=body).status_code == 201
        files = {"file": ("images.zip", archive({"cat": 3, "dog": 3}))}
        fields = {"space": "own", "train": "true"}
        dataset = owner.post("/v1/datasets", files=files, data=fields).json()
        guarded.train(dataset["component"]["id"])
        made = owner.post(PATH, json={"dataset_id": dataset["id"], "space": "own"})
        assert made.status_code == 202, made.text
        url = f"{PATH}/{made.json()['id']}"
        until_ended(guarded, url.removeprefix("/v1/"))
        assert owner.get(f"{url}/results").status_code == 200
        for answer in (
            other.get(url),
            other.get(f"{url}/results"),
            other.post(f"{url}/cancel"),
            other.delete(url),
        ):
            problem(answer, 404, "batch_prediction_not_found")
        assert other.get(PATH).json()["data"] == []
        assert len(owner.get(PATH).json()["data"]) == 1


def test_the_metrics_count_evaluations_and_batch_predictions_by_status(
    service: Service, held: HeldPasses
) -> None:
    dataset_id = service.dataset({"cat": 1}, start=70)
    for number in (1, 2):  # as many as a process computes at a time
        begun(service, dataset_id=dataset_id)
        held.wait_for(number)
    service.client.post("/v1/evaluations", json={"dataset_id": dataset_id})
    text = service.client.get("/metrics").text
    assert 'tangent_jobs{kind="batch_prediction",status="running"} 2.0' in text
    assert 'tangent_jobs{kind="evaluation",status="queued"} 1.0' in text
    assert 'tangent_jobs{kind="evaluation",status="failed"} 0.0' in text
    held.go.set()


def test_a_row_names_no_file_of_an_ended_one_that_is_not_there(service: Service) -> None:
    service.component({"cat": 3, "dog": 3})
    answer = sent(service, archive({"cat": 2}, 5))
    until_ended(service, f"batch-predictions/{answer.json()['id']}")
    with transaction(service.state.reading) as session:
        row = session.get_one(BatchPrediction, answer.json()["id"])
        keys = sorted(key for key in (row.csv_key, row.jsonl_key, row.archive_key) if key)
    assert keys == blobs(service)
    size = sum(service.state.blobs.path(key).stat().st_size for key in keys)
    assert row.bytes == size
