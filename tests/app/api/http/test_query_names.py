"""A query parameter that a route does not have is refused, with the one that was meant."""

import pytest

from tests.support.problems import problem
from tests.support.service import Service

SCOPE = "head"


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("components?stauts=ready", "did you mean 'status'?"),
        ("components?Status=ready", "did you mean 'status'?"),
        ("evaluations?dataset=ds_1", "did you mean 'dataset_id'?"),
        ("receipts?x=1", "there are after, limit"),
        ("datasets?x=1", "there are after, label, limit, metadata.*, name, order, space"),
        ("datasets?metadata=1", "did you mean 'metadata.*'?"),
        ("evaluations?metadata.a=1", "there are after, component_id"),
        ("limits?page=2", "this route has none"),
        ("receipts/head?x=", "this route has none"),
    ],
)
def test_it_is_named_with_the_nearest(service: Service, query: str, told: str):
    found = problem(service.client.get(f"/v1/{query}"), 422, "invalid_request")
    assert told in str(found["errors"]), found


def test_a_change_with_one_is_not_made(service: Service):
    """A cascade that is misspelt must not be taken for none, nor a probe."""
    dataset = service.dataset({"cat": 2, "dog": 2})
    problem(service.client.delete(f"/v1/datasets/{dataset}?cascades=true"), 422, "invalid_request")
    assert service.client.get(f"/v1/datasets/{dataset}").status_code == 200


def test_predictions_name_theirs_too(service: Service):
    part = service.component({"cat": 2, "dog": 2})
    sent = {"content": b"x", "headers": {"Content-Type": "image/png"}}
    answer = service.client.post("/v1/predictions?topk=3", **sent)
    assert "did you mean 'top_k'?" in str(problem(answer, 422, "invalid_request")["errors"])
    answer = service.client.post(f"/v1/predictions?components={part}&top_k=1", **sent)
    assert answer.json()["results"][0]["error"]["code"] == "bad_image"


@pytest.mark.parametrize("query", ["limit=1&limit=2", "metadata.a=1&metadata.a=2", "name=a&name=a"])
def test_one_that_is_given_twice_is_refused(service: Service, query: str):
    found = problem(service.client.get(f"/v1/datasets?{query}"), 422, "invalid_request")
    assert "is given more than once" in str(found["errors"])


def test_a_list_that_a_route_takes_as_one_text_may_not_repeat(service: Service):
    part, dataset = service.component({"cat": 3, "dog": 3}), service.dataset({"cat": 2, "dog": 2})
    place = f"/v1/datasets/{dataset}/label-report"
    twice = service.client.get(f"{place}?components={part}&components={part}")
    assert "is given more than once" in str(problem(twice, 422, "invalid_request")["errors"])


def test_lists_of_predictions_may_repeat(service: Service):
    part = service.component({"cat": 2, "dog": 2})
    sent = {"content": b"x", "headers": {"Content-Type": "image/png"}}
    query = f"components={part}&return=logits&return=probabilities"
    answer = service.client.post(f"/v1/predictions?{query}", **sent)
    assert answer.json()["results"][0]["error"]["code"] == "bad_image"


def test_many_unknown_ones_are_not_all_repeated(service: Service):
    query = "&".join(f"{'y' * 50}{number}=1" for number in range(1000))
    answer = service.client.get(f"/v1/datasets?{query}")
    problem(answer, 422, "invalid_request")
    assert len(answer.content) < 20_000
