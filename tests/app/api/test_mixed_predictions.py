"""Predictions of many clients share forward passes; each is answered as if it came alone."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.images import image
from tests.support.problems import problem
from tests.support.two_components import TwoComponents

CLIENTS = 12
TOLERANCE = 1e-6  # of the largest logit, as the document says


def logits(answer) -> list[dict[str, float]]:
    assert answer.status_code == 200, answer.text
    results = answer.json()["results"]
    return [{each["label"]: each["logit"] for each in one["predictions"]} for one in results]


def together(two: TwoComponents, number: int, **fields: str):
    """Send each picture in a request of its own, all at the same time, by one of three rules."""
    queries = ["?rule=joint", "?rule=average", f"?components={two.pets}"]
    with ThreadPoolExecutor(CLIENTS) as clients:
        asked = [
            clients.submit(two.post, image("cat", i), query=queries[i % 3], **fields)
            for i in range(number)
        ]
        return queries, [each.result(60) for each in asked]


def test_answers_of_shared_passes_are_those_given_alone(two: TwoComponents) -> None:
    queries, answers = together(two, CLIENTS)
    for i, answer in enumerate(answers):
        [found] = logits(answer)
        [alone] = logits(two.post(image("cat", i), query=queries[i % 3]))
        assert found.keys() == alone.keys()
        most = max(map(abs, alone.values()))
        assert max(abs(found[label] - alone[label]) for label in alone) <= TOLERANCE * most


@pytest.mark.parametrize("wanted", ["logits", "logits,contributions,leave_one_out"])
def test_deterministic_answers_have_the_same_bytes_whatever_shares_the_pass(
    two: TwoComponents, wanted: str
) -> None:
    fields = {"deterministic": "true", "return": wanted}
    queries, answers = together(two, CLIENTS, **fields)
    pictures = [image("cat", i) for i in range(CLIENTS)]
    for at, query in enumerate(queries):
        whole = two.post(*pictures, query=query, **fields)
        for i in range(at, CLIENTS, 3):
            one = answers[i].json()["results"][0] | {"index": i}
            assert json.dumps(whole.json()["results"][i]) == json.dumps(one)


def test_a_damaged_image_hurts_none_of_those_beside_it(two: TwoComponents) -> None:
    good = image("cat", 1)
    answer = two.post(good, good[:60], good, deterministic="true")
    first, second, third = answer.json()["results"]
    assert second["error"]["code"] == "bad_image"
    assert first["predictions"] == third["predictions"]


def test_a_full_queue_is_answered_429_with_the_time_to_wait(serve) -> None:
    service = serve(max_waiting_images=1)
    service.component({"cat": 2})
    pictures = [("images", (f"{i}", image("cat", i))) for i in range(3)]
    assert service.client.post("/v1/predictions", files=pictures[:1]).status_code == 200
    batches = service.state.engine.batches
    with ThreadPoolExecutor(1) as clients, batches.turn:
        first = clients.submit(service.client.post, "/v1/predictions", files=pictures[:1])
        while not batches.waiting:
            pass
        answer = service.client.post("/v1/predictions", files=pictures[1:])
        problem(answer, 429, "queue_full")
        assert int(answer.headers["retry-after"]) >= 1
    assert first.result(60).status_code == 200
