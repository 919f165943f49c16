"""The images of an evaluation: which were answered wrongly, and which answers another changed."""

from typing import Any

import httpx
import pytest
from sqlalchemy import delete as delete_rows
from sqlalchemy import func, select

from app.database.sessions import transaction
from app.database.tables import EvaluationAnswers
from app.passes.answers import Answers
from tests.support.client import DELETIONS, WAIT, predict, upload
from tests.support.images import packed
from tests.support.service import Service

MIXED = [*(("cat", n) for n in range(6)), *(("dog", n) for n in range(6)), ("cow", 1)]


@pytest.fixture
def stage(either: Service) -> tuple[Service, str, list[str]]:
    """A service with two components of cats and dogs, and a dataset that also has a cow."""
    parts = [either.component({"cat": 4, "dog": 4}, start) for start in (0, 10)]
    return either, upload(either, packed(MIXED))["id"], parts


def evaluated(service: Service, dataset_id: str, *components: str) -> dict[str, Any]:
    body = {"dataset_id": dataset_id, "components": [{"id": each} for each in components]}
    answer = service.client.post("/v1/evaluations", json=body, headers=WAIT)
    assert answer.status_code == 201, answer.text
    return answer.json()


def images(service: Service, evaluation: dict[str, Any], **query: Any) -> httpx.Response:
    return service.client.get(f"/v1/evaluations/{evaluation['id']}/images", params=query)


def listed(service: Service, evaluation: dict[str, Any], **query: Any) -> list[dict[str, Any]]:
    """All pages, three images on each."""
    found, after = [], None
    while True:
        asked = query | {"limit": 3} | ({"after": after} if after else {})
        answer = images(service, evaluation, **asked)
        assert answer.status_code == 200, answer.text
        found += answer.json()["data"]
        after = answer.json()["next"]
        if after is None:
            return found


def predicted(service: Service, dataset_id: str, *components: str) -> dict[str, str]:
    """By an image's id, the first label of a prediction of it."""
    rows = service.client.get(f"/v1/datasets/{dataset_id}/images?limit=100").json()["data"]
    files = [service.client.get(f"/v1/datasets/{dataset_id}/images/{r['id']}") for r in rows]
    answer = predict(service, *(file.content for file in files), components=",".join(components))
    assert answer.status_code == 200, answer.text
    results = answer.json()["results"]
    return {
        row["id"]: found["predictions"][0]["label"]
        for row, found in zip(rows, results, strict=True)
    }


def test_every_image_has_the_label_that_a_prediction_of_it_answers(stage):
    service, dataset_id, parts = stage
    made = evaluated(service, dataset_id, parts[0])

    found = listed(service, made)

    assert {each["id"]: each["answered"] for each in found} == predicted(
        service, dataset_id, parts[0]
    )
    assert [each["id"] for each in found] == sorted(each["id"] for each in found)
    rows = service.client.get(f"/v1/datasets/{dataset_id}/images?limit=100").json()["data"]
    same = ("id", "path", "label")
    assert [[x[name] for name in same] for x in found] == [[x[n] for n in same] for x in rows]
    thumbnail = service.client.get(found[0]["thumbnail"])
    assert thumbnail.status_code == 200 and thumbnail.headers["content-type"] == "image/png"


def test_wrong_and_right_answers_labels_and_answers_narrow_the_list(stage):
    service, dataset_id, parts = stage
    made = evaluated(service, dataset_id, parts[0])
    whole = listed(service, made)

    for query, keeps in (
        ({"wrong": True}, lambda x: x["label"] != x["answered"]),
        ({"wrong": False}, lambda x: x["label"] == x["answered"]),
        ({"label": "cow"}, lambda x: x["label"] == "cow"),
        ({"answered": "dog"}, lambda x: x["answered"] == "dog"),
        ({"label": "cat", "answered": "cat"}, lambda x: x["label"] == x["answered"] == "cat"),
        ({"label": "emu"}, lambda x: False),
    ):
        assert listed(service, made, **query) == [each for each in whole if keeps(each)], query

    wrong = listed(service, made, wrong=True)
    assert len(wrong) == made["num_images"] - sum(x["correct"] for x in made["labels"].values())
    assert "cow" in {each["label"] for each in wrong}


def test_a_comparison_names_the_images_whose_answers_changed(stage):
    service, dataset_id, _ = stage
    cats, dogs = service.component({"cat": 4}, 20), service.component({"dog": 4}, 20)
    old, new = evaluated(service, dataset_id, cats), evaluated(service, dataset_id, dogs)

    found = {each["id"]: each for each in listed(service, new, compared_to=old["id"])}

    before, now = ({x["id"]: x["answered"] for x in listed(service, each)} for each in (old, new))
    assert set(found) == {id_ for id_ in now if now[id_] != before[id_]} and found
    assert all(each["before"] == before[id_] for id_, each in found.items())
    changes = {each["label"]: each["change"] for each in found.values()}
    assert changes == {"cat": "broken", "dog": "fixed", "cow": "other"}
    for change in ("fixed", "broken", "other"):
        shown = listed(service, new, compared_to=old["id"], change=change)
        assert shown == [each for each in found.values() if each["change"] == change]
    assert listed(service, new, compared_to=new["id"]) == []


def test_evaluations_of_two_datasets_are_not_compared(stage):
    service, dataset_id, parts = stage
    made = evaluated(service, dataset_id, parts[0])
    other = evaluated(service, service.dataset({"cat": 2}), parts[0])

    for query, code in (
        ({"compared_to": other["id"]}, "other_dataset"),
        ({"change": "fixed"}, "nothing_compared"),
        ({"change": "new", "compared_to": made["id"]}, "invalid_request"),
    ):
        answer = images(service, made, **query)
        assert (answer.status_code, answer.json()["code"]) == (422, code), answer.text
    answer = images(service, made, compared_to="ev_none")
    assert (answer.status_code, answer.json()["code"]) == (404, "evaluation_not_found")


def kept(service: Service) -> int:
    with transaction(service.state.reading) as session:
        return session.scalar(select(func.count()).select_from(EvaluationAnswers)) or 0


@pytest.mark.parametrize("deletion", DELETIONS)
def test_answers_go_with_whatever_they_were_made_of(service, deletion):
    component_id = service.component({"cat": 3, "dog": 3})
    dataset_id = upload(service, packed(MIXED))["id"]
    made = evaluated(service, dataset_id, component_id)
    assert kept(service) == 1

    receipt = DELETIONS[deletion](service, component_id, dataset_id)

    assert kept(service) == 0
    answer = images(service, made)
    assert (answer.status_code, answer.json()["code"]) == (409, "evaluation_not_ready")
    assert receipt["id"] in answer.json()["detail"]


def test_answers_go_with_the_evaluation(stage):
    service, dataset_id, parts = stage
    made = evaluated(service, dataset_id, parts[0])
    assert service.client.delete(f"/v1/evaluations/{made['id']}").status_code == 204
    assert kept(service) == 0
    assert images(service, made).status_code == 404


def test_an_evaluation_of_before_has_none(stage):
    service, dataset_id, parts = stage
    made = evaluated(service, dataset_id, parts[0])
    with transaction(service.state.sessions) as session:
        session.execute(delete_rows(EvaluationAnswers))
    answer = images(service, made)
    assert (answer.status_code, answer.json()["code"]) == (409, "answers_not_kept")


def test_images_in_any_order_and_gaps_between_them_are_kept_apart():
    noted = {7: "dog", 2: "cat", 100_000: "cow", 0: "dog"}
    answers = Answers()
    for place, label in noted.items():
        answers.note(f"img_x_{place:06d}", label)

    again = Answers.of_row(answers.row("ev_x"))

    for place in (*range(10), 99_999, 100_000, 100_001):
        assert again.of(f"img_x_{place:06d}") == noted.get(place)
    assert len(answers.row("ev_x").answered) < 1000
