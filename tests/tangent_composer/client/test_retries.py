"""Requests are sent again where that cannot do anything twice, and after as long as asked for."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from tangent_composer import Client
from tangent_composer.client import errors
from tangent_composer.client.retries import Retries, retry_after
from tangent_composer.schemas.components import ComponentOut
from tangent_composer.schemas.receipts import ReceiptOut
from tests.support.answering import BUSY, answering, problem

ENDING = problem(503, "service_ending")
HEAD = {"number": 0, "id": None, "hash": "0" * 64}


def test_a_busy_service_is_asked_again_after_as_long_as_it_says(paused):
    busy = (503, {"Retry-After": "7"}, BUSY)
    with answering(busy, busy, (200, {}, HEAD)) as (url, seen), Client(url) as client:
        assert client.receipts.head().number == 0
    assert (len(seen), paused) == (3, [7.0, 7.0])


def test_a_pause_longer_than_the_client_waits_is_a_refusal(paused):
    with (
        answering((429, {"Retry-After": "3600"}, BUSY)) as (url, _),
        Client(url) as client,
        pytest.raises(errors.TooManyRequests, match="wait a moment"),
    ):
        client.receipts.head()
    assert paused == []


def test_other_refusals_are_not_repeated(paused):
    problem = {"code": "dataset_not_found", "detail": "no dataset ds_1 exists"}
    with (
        answering((404, {}, problem)) as (url, seen),
        Client(url) as client,
        pytest.raises(errors.NotFound, match="no dataset ds_1 exists") as caught,
    ):
        client.datasets.get("ds_1")
    assert (len(seen), caught.value.code, paused) == (1, "dataset_not_found", [])


def test_a_lost_answer_is_asked_for_again_with_the_same_key(paused):
    receipt = {"receipt_id": "rcpt_1", "ok": True}
    with (
        answering(None, (422, {}, BUSY)) as (url, seen),
        Client(url) as client,
        pytest.raises(errors.Invalid),
    ):
        client.compositions.solve("mine", "ds_1")
    assert receipt["ok"] and len(seen) == 2
    assert seen[0] == seen[1] and seen[0][1].startswith("tc-")


def test_a_deletion_whose_answer_was_lost_gives_its_receipt(paused):
    gone = {"code": "component_deleted", "detail": "it was deleted", "receipt_id": "rcpt_1"}
    receipt = {
        "id": "rcpt_1",
        "number": 1,
        "created_at": "2026-01-01T00:00:00.000000Z",
        "body": {},
        "previous_hash": "0" * 64,
        "hash": "1" * 64,
    }
    answers = (None, (410, {}, gone), (200, {}, receipt))
    with answering(*answers) as (url, seen), Client(url) as client:
        assert client.unlearn("cmp_1").id == "rcpt_1"
    assert [method for method, _ in seen] == ["DELETE", "DELETE", "GET"]


RECEIPT = ReceiptOut.model_config["json_schema_extra"]["example"]
SPACE_AWAY = problem(404, "space_not_found")


def listed(*names: str) -> tuple[int, dict[str, str], object]:
    """The page of the receipts of spaces with these names."""
    subjects = [{"kind": "space", "id": name} for name in names]
    data = [
        RECEIPT | {"id": f"rcpt_{n}", "body": RECEIPT["body"] | {"subject": subject}}
        for n, subject in enumerate(subjects, 1)
    ]
    return (200, {}, {"data": data, "has_more": False, "next": None})


def test_a_deletion_of_a_space_whose_answer_was_lost_gives_its_receipt(paused):
    for lost in (None, ENDING, problem(502, "x")):
        answers = ((200, {}, HEAD), lost, SPACE_AWAY, listed("other", "site"))
        with answering(*answers) as (url, seen), Client(url) as client:
            assert client.spaces.unlearn("site").id == "rcpt_2"
        assert [method for method, _ in seen] == ["GET", "DELETE", "DELETE", "GET"]


def test_a_space_that_was_not_there_is_told_whatever_was_lost(paused):
    for answers in (
        ((200, {}, HEAD), SPACE_AWAY),
        ((200, {}, HEAD), None, SPACE_AWAY, listed("other")),
        (problem(403, "scope_missing"), None, SPACE_AWAY),
    ):
        with (
            answering(*answers) as (url, seen),
            Client(url) as client,
            pytest.raises(errors.NotFound, match="so it is"),
        ):
            client.spaces.unlearn("site")
        assert len(seen) == len(answers)


def test_what_was_deleted_before_is_an_error_with_the_receipt(paused):
    gone = {"code": "component_deleted", "detail": "it was deleted", "receipt_id": "rcpt_1"}
    with (
        answering((410, {}, gone)) as (url, _),
        Client(url) as client,
        pytest.raises(errors.Gone) as caught,
    ):
        client.unlearn("cmp_1")
    assert caught.value.receipt_id == "rcpt_1"


LOST = pytest.mark.parametrize("lost", [None, ENDING], ids=["no answer", "the service ended"])


@LOST
def test_a_space_is_opened_once_with_one_key(paused, lost):
    with (
        answering(lost, problem(409, "space_exists")) as (url, seen),
        Client(url) as client,
        pytest.raises(errors.Conflict),
    ):
        client.spaces.create("site", "resnet_micro_32")
    assert len(seen) == 2 and seen[0] == seen[1] and seen[0][1].startswith("tc-")


COMPOSITION = {
    "name": "mine",
    "space": "default",
    "rule": "weighted",
    "components": [{"id": "cmp_1", "weight": 0.5}, {"id": "cmp_2", "weight": 0.25}],
    "solved": None,
    "metadata": {"a": "b"},
    "etag": "2",
    "created_at": "2026-01-01T00:00:00.000000Z",
    "updated_at": "2026-01-01T00:00:00.000000Z",
}
STALE = problem(412, "composition_changed")


def put(client: Client):
    weights = {"cmp_2": 0.25, "cmp_1": 0.5}
    return client.compositions.put(
        "mine", weights, rule="weighted", metadata={"a": "b"}, if_match="1"
    )


@LOST
def test_a_version_that_a_lost_request_has_made_is_its_answer(paused, lost):
    with answering(lost, STALE, (200, {}, COMPOSITION)) as (url, seen), Client(url) as client:
        assert put(client).etag == "2"
    assert [method for method, _ in seen] == ["PUT", "PUT", "GET"]


@pytest.mark.parametrize(
    "other",
    [{"rule": "average"}, {"metadata": {}}, {"components": "all"}, {"space": "b"}],
    ids=lambda other: next(iter(other)),
)
def test_a_version_that_others_have_made_meanwhile_is_a_refusal(paused, other):
    found = (200, {}, COMPOSITION | other)
    with (
        answering(None, STALE, found) as (url, _),
        Client(url) as client,
        pytest.raises(errors.StaleVersion),
    ):
        put(client)


def test_a_stale_version_at_once_is_a_refusal_whatever_is_there(paused):
    for first in ((503, {}, BUSY), problem(429, "too_many_requests"), None):
        answers = (STALE,) if first is None else (first, STALE)
        with (
            answering(*answers) as (url, seen),
            Client(url) as client,
            pytest.raises(errors.StaleVersion),
        ):
            put(client)
        assert {method for method, _ in seen} == {"PUT"}


@LOST
def test_what_a_lost_request_has_deleted_is_deleted(paused, lost):
    for gone in (problem(404, "composition_not_found"), problem(410, "evaluation_deleted")):
        with answering(lost, gone) as (url, seen), Client(url) as client:
            client.compositions.delete("mine", if_match="1")
        assert [method for method, _ in seen] == ["DELETE", "DELETE"]


@LOST
def test_a_cancellation_whose_answer_was_lost_gives_what_was_cancelled(paused, lost):
    over = problem(409, "component_finished")
    for status in ("cancelled", "ready"):
        example = ComponentOut.model_config["json_schema_extra"]["example"]
        found = (200, {}, example | {"status": status})
        with answering(lost, over, found) as (url, _), Client(url) as client:
            if status == "cancelled":
                assert client.components.cancel("cmp_1").status == "cancelled"
                continue
            with pytest.raises(errors.Conflict):
                client.components.cancel("cmp_1")


def test_what_was_not_there_is_told_also_after_a_wait_for_a_busy_service(paused):
    busy = (503, {}, BUSY)
    with (
        answering(busy, problem(404, "composition_not_found")) as (url, _),
        Client(url) as client,
        pytest.raises(errors.NotFound, match="so it is"),
    ):
        client.compositions.delete("mine")
    with (
        answering(busy, problem(410, "component_deleted", receipt_id="rcpt_1")) as (url, _),
        Client(url) as client,
        pytest.raises(errors.Gone, match="so it is"),
    ):
        client.unlearn("cmp_1")


def test_a_deletion_that_left_traces_is_told_and_not_repeated(paused):
    with (
        answering(problem(503, "cleanup_unfinished", receipt_id="rcpt_1")) as (url, seen),
        Client(url) as client,
        pytest.raises(errors.Unavailable) as caught,
    ):
        client.unlearn("cmp_1")
    assert (len(seen), caught.value.receipt_id) == (1, "rcpt_1")


def test_pauses_grow_and_end():
    pauses = [Retries(most=4).pause(attempt, 503, {}) for attempt in range(1, 6)]
    assert pauses[4] is None
    assert all(0.18 * 2**n <= pauses[n] <= 0.32 * 2**n for n in range(4))
    assert Retries().pause(1, 500, {}) is None


def test_retry_after_is_seconds_or_a_date():
    later = datetime.now(UTC) + timedelta(seconds=30)
    assert retry_after("12") == 12.0
    assert 25 < retry_after(format_datetime(later, usegmt=True)) <= 30
    assert retry_after(format_datetime(later - timedelta(days=1), usegmt=True)) == 0.0
    assert retry_after("soon") is None
    assert retry_after(None) is None
