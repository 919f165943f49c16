"""Ids come in the order in which a database has given them, whatever the clocks say."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.database import ids
from app.database.ids import new_id
from tests.support.client import WAIT
from tests.support.service import Service

SCOPE = "head"


class Clock:
    """A clock that a test sets; the process may be another one each time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.offset = timedelta()
        monkeypatch.setattr(ids, "now", lambda: datetime.now(UTC) + self.offset)

    def set(self, **offset: float) -> None:
        """Set the clock, and forget the ids that were given, as a new process has."""
        self.offset = timedelta(**offset)
        ids._latest.clear()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    monkeypatch.setattr(ids, "_latest", {})
    return Clock(monkeypatch)


def pages(service: Service, path: str, after: str | None = None) -> list[dict[str, Any]]:
    """Return what a client reads that asks for page after page, from the cursor on."""
    found: list[dict[str, Any]] = []
    query = {"limit": 2} | ({"after": after} if after else {})
    while True:
        page = service.client.get(f"/v1/{path}", params=query).json()
        found += page["data"]
        if not page["has_more"]:
            return found
        query["after"] = page["next"]


def test_ids_of_one_process_are_in_order_within_a_millisecond_too():
    made = [new_id("cmp") for _ in range(5_000)]
    assert made == sorted(made) and len(set(made)) == len(made)


def test_an_id_comes_after_the_one_that_is_named_and_after_the_clock(clock):
    later = new_id("cmp")
    clock.set(hours=-1)
    assert new_id("cmp") < later < new_id("cmp", after=later)
    clock.set(hours=1)
    ahead = new_id("cmp", after=later)
    assert int(ahead[4:16], 16) - int(later[4:16], 16) > 3_500_000  # milliseconds


@pytest.mark.parametrize("other", ["cmp_1", "north", "", "cmp_" + "f" * 24])
def test_what_is_no_id_of_this_time_orders_nothing(clock, other):
    made = new_id("cmp", after=other)
    assert ids.ID.fullmatch(made)
    time = datetime.fromtimestamp(int(made[4:16], 16) / 1000, UTC)
    assert abs(time - datetime.now(UTC)) < timedelta(minutes=5)


def test_a_clock_that_was_set_back_hides_no_row_from_a_client_that_reads_on(either, clock):
    clock.set(hours=1)
    dataset = either.dataset({"cat": 2})
    first = either.queued(dataset)
    seen = {path: pages(either, path)[-1]["id"] for path in ("datasets", "components", "audit")}

    clock.set()  # an hour back, in a new process
    more = either.dataset({"cat": 2}, 10)
    second, third = either.queued(dataset), either.queued(dataset)

    assert [row["id"] for row in pages(either, "datasets", seen["datasets"])] == [more]
    assert [row["id"] for row in pages(either, "components", seen["components"])] == [second, third]
    assert [row["objects"][-1] for row in pages(either, "audit", seen["audit"])] == [
        more,
        second,
        third,
    ]
    assert [row["id"] for row in pages(either, "components")] == [first, second, third]


def test_imports_evaluations_and_keys_are_in_order_too(service, clock):
    component, dataset = service.component({"cat": 2, "dog": 2}), service.dataset({"cat": 2}, 10)
    file = service.client.get(f"/v1/components/{component}/delta").content

    def make() -> list[str]:
        sent = {"file": ("a.safetensors", file)}
        imported = service.client.post(
            "/v1/components/import", files=sent, data={"allow_duplicate": "true"}
        )
        evaluation = service.client.post(
            "/v1/evaluations", json={"dataset_id": dataset}, headers=WAIT
        )
        key = service.client.post("/v1/keys", json={"name": "k", "scopes": ["admin"]})
        service.client.headers["Authorization"] = f"Bearer {key.json()['key']}"
        return [answer.json()["id"] for answer in (imported, evaluation, key)]

    clock.set(hours=1)
    before = make()
    clock.set()
    after = make()

    assert all(one < other for one, other in zip(before, after, strict=True))
