"""A component's events: as JSON pages and as a stream that resumes where it broke off."""

import json
import threading
import time
from contextlib import ExitStack

import httpx
import pytest

from app.api.http import event_streams, server_sent_events
from app.database.sessions import transaction
from app.store import components
from tests.support.problems import problem
from tests.support.service import Service

STREAM = {"Accept": "text/event-stream"}


@pytest.fixture(scope="module")
def dataset_id(shared: Service) -> str:
    return shared.dataset({"cat": 3})


@pytest.fixture
def component_id(shared: Service, dataset_id: str) -> str:
    """A component in training, with three reports of progress."""
    component_id = shared.queued(dataset_id)
    with transaction(shared.state.sessions) as session:
        components.start(session, component_id, executor_id="w")
        for step in (1, 2, 3):
            components.progress(session, component_id, {"step": step, "total": 9})
    return component_id


def cancel(service: Service, component_id: str) -> None:
    assert service.client.post(f"/v1/components/{component_id}/cancel").status_code == 200


def listed(service: Service, component_id: str, **query) -> dict:
    answer = service.client.get(f"/v1/components/{component_id}/events", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def frames(text: str) -> list[dict[str, str]]:
    """Return the fields of every event in a stream's text, without comments."""
    found = []
    for block in text.split("\n\n"):
        lines = [line for line in block.splitlines() if line and not line.startswith(":")]
        if lines:
            found.append(dict(line.split(": ", 1) for line in lines))
    return found


def test_pages_of_events_tell_the_whole_life_in_order(shared, component_id):
    cancel(shared, component_id)
    seen, after = [], 0
    while True:
        page = listed(shared, component_id, after=after, limit=2)
        seen += page["data"]
        assert page["has_more"] == (page["next"] is not None)
        if not page["has_more"]:
            break
        after = page["next"]

    told = [
        (event["type"], event["data"].get("status", event["data"].get("step"))) for event in seen
    ]

    assert told == [
        ("status", "queued"),
        ("status", "training"),
        ("progress", 1),
        ("progress", 2),
        ("progress", 3),
        ("status", "cancelled"),
    ]
    assert [event["id"] for event in seen] == sorted({event["id"] for event in seen})


def test_a_finished_components_stream_is_its_list_and_ends(shared, component_id):
    cancel(shared, component_id)

    answer = shared.client.get(f"/v1/components/{component_id}/events", headers=STREAM)

    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["cache-control"] == "no-cache"
    streamed = frames(answer.text)
    assert [json.loads(frame["data"]) for frame in streamed] == listed(
        shared, component_id, limit=100
    )["data"]
    for frame in streamed:
        event = json.loads(frame["data"])
        assert (frame["id"], frame["event"]) == (str(event["id"]), event["type"])


def test_a_stream_that_broke_off_goes_on_behind_the_last_event_seen(shared, component_id):
    cancel(shared, component_id)
    everything = [event["id"] for event in listed(shared, component_id)["data"]]
    url = f"/v1/components/{component_id}/events"

    by_header = shared.client.get(url, headers=STREAM | {"Last-Event-ID": str(everything[2])})
    by_query = shared.client.get(url, headers=STREAM, params={"after": everything[2]})

    assert [int(frame["id"]) for frame in frames(by_header.text)] == everything[3:]
    assert by_query.text == by_header.text


def test_events_reach_an_open_stream_as_they_come(shared, component_id):
    received: list[tuple[float, str]] = []

    def follow() -> None:
        url = f"{shared.url}/v1/components/{component_id}/events"
        with httpx.stream("GET", url, headers=STREAM, timeout=60, trust_env=False) as answer:
            for line in answer.iter_lines():
                received.append((time.monotonic(), line))

    reader = threading.Thread(target=follow)
    reader.start()
    while sum(line.startswith("id:") for _, line in received) < 5:
        time.sleep(0.05)
    with transaction(shared.state.sessions) as session:
        components.progress(session, component_id, {"step": 4, "total": 9})
    reported = time.monotonic()
    while sum(line.startswith("id:") for _, line in received) < 6:
        assert time.monotonic() < reported + 20
        time.sleep(0.05)
    assert reader.is_alive()
    cancel(shared, component_id)
    reader.join(20)

    assert not reader.is_alive()
    last = frames("\n".join(line for _, line in received))[-1]
    assert json.loads(last["data"])["data"] == {"status": "cancelled"}


def test_a_quiet_stream_sends_comments_that_carry_no_id(shared, component_id, monkeypatch):
    monkeypatch.setattr(server_sent_events, "HEARTBEAT_SECONDS", 0.1)
    url = f"{shared.url}/v1/components/{component_id}/events"

    with httpx.stream("GET", url, headers=STREAM, timeout=60, trust_env=False) as answer:
        lines = answer.iter_lines()
        comments = []
        while len(comments) < 2:
            line = next(lines)
            if line.startswith(":"):
                comments.append(line)

    assert comments == [": still here", ": still here"]
    cancel(shared, component_id)


def test_a_stream_ends_when_its_component_is_deleted(shared, component_id):
    url = f"{shared.url}/v1/components/{component_id}/events"
    with httpx.stream("GET", url, headers=STREAM, timeout=60, trust_env=False) as answer:
        lines = answer.iter_lines()
        next(lines)
        assert shared.client.delete(f"/v1/components/{component_id}").status_code == 200
        rest = "\n".join(lines)

    last = frames(rest)[-1]
    assert last["event"] == "deleted" and "id" not in last
    assert json.loads(last["data"])["code"] == "component_deleted"


@pytest.mark.parametrize("query", [{"after": "x"}, {"after": -1}, {"after": 2**63}, {"limit": 0}])
def test_a_place_that_is_none_is_refused(shared, component_id, query):
    answer = shared.client.get(f"/v1/components/{component_id}/events", params=query)

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")


def test_many_quiet_streams_share_one_look_at_the_database(shared, component_id, monkeypatch):
    looks, read = [], components.last_events

    def counted(session, ids):
        looks.append(len(ids))
        return read(session, ids)

    monkeypatch.setattr(components, "last_events", counted)
    monkeypatch.setattr(event_streams, "POLL_SECONDS", 0.1)
    url = f"{shared.url}/v1/components/{component_id}/events"
    with ExitStack() as stack:
        client = stack.enter_context(httpx.Client(timeout=60, trust_env=False))
        streams = [stack.enter_context(client.stream("GET", url, headers=STREAM)) for _ in range(8)]
        lines = [stream.iter_lines() for stream in streams]
        for each in lines:
            next(each)
        began, before = time.monotonic(), len(looks)
        time.sleep(1)
        assert len(looks) - before <= (time.monotonic() - began) / 0.1 + 1
        assert set(looks) == {1}
        cancel(shared, component_id)
        assert all(any("cancelled" in line for line in each) for each in lines)


def test_streams_beyond_the_bound_are_refused_until_others_end(shared, component_id, monkeypatch):
    url = f"{shared.url}/v1/components/{component_id}/events"
    monkeypatch.setattr(shared.app.state.event_streams, "_most", 1)
    with httpx.stream("GET", url, headers=STREAM, timeout=60, trust_env=False) as first:
        lines = first.iter_lines()  # held, as the end of the iterator ends the stream
        next(lines)
        refused = shared.client.get(url, headers=STREAM)
        problem(refused, 503, "too_many_streams")
        assert refused.headers["Retry-After"] == "15"
        assert shared.client.get(url).json()["data"]
    end = time.monotonic() + 10
    while shared.app.state.event_streams._open and time.monotonic() < end:
        time.sleep(0.05)
    cancel(shared, component_id)
    assert shared.client.get(url, headers=STREAM).status_code == 200
