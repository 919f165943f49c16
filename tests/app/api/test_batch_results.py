"""The results of batch predictions: a line for each image, equal to the image's prediction."""

import json
from typing import Any

from tests.support.archives import archive as packed_in
from tests.support.batches import begun, blobs, lines, rows, sent
from tests.support.client import until_ended
from tests.support.flips import flip_bit
from tests.support.images import image
from tests.support.problems import problem
from tests.support.service import Service
from tests.support.two_components import TwoComponents

SCOPE = "head"
COUNTS = {"cat": 3, "cow": 2}
NEAR = 1e-4  # of a logit, between passes with other images


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
    assert get(url, headers={"Accept": "TEXT/CSV"}).content == table.content
    refusing = {"Accept": "application/jsonl;q=1, text/csv;q=0"}
    assert get(url, headers=refusing).content == get(url).content != table.content
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
