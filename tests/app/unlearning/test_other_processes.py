"""After a DELETE has answered, no other process sends an answer with what was deleted."""

import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import pytest

from app.inference.deletion_gate import Ticket
from tests.support.client import WAIT
from tests.support.images import image
from tests.support.problems import problem
from tests.support.service import Service
from tests.support.serving_processes import serving

SCOPE = "head"
SECONDS = 1.0  # of a lease
PATIENCE = 300  # seconds, for what takes a few on an idle machine
# Of a process that was stopped, or that gets no processor: it may say so, and never answer late.
PAUSED = {"lease_expired", "selection_changing", "answer_overtaken"}
LABELS = ("cat", "dog", "cow", "hen")
CLIENTS = 8
PNG = {"Content-Type": "image/png"}

Serve = Callable[..., Service]


@pytest.fixture(params=["sqlite", "postgres"])
def first(request: pytest.FixtureRequest, serve: Serve) -> Service:
    """A service with components, on each kind of database."""
    postgres = request.param == "postgres"
    url = request.getfixturevalue("postgres") if postgres else None
    return serve(database_url=url, lease_seconds=SECONDS)


class Load:
    """Clients of one process that ask all the time, and note which components answered when."""

    def __init__(self, pool: ThreadPoolExecutor, port: int) -> None:
        self.port, self.over = port, threading.Event()
        self.answers: list[tuple[float, set[str]]] = []  # when the answer was there, its components
        self.others: set[str] = set()  # codes of other answers
        self.cut = 0  # answers that a pause has overtaken in the middle of their sending
        self._clients = [pool.submit(self._ask) for _ in range(CLIENTS)]

    def _ask(self) -> None:
        while not self.over.is_set():
            try:
                self._ask_on_one_connection()
            except (HTTPException, ConnectionError):
                self.cut += 1

    def _ask_on_one_connection(self) -> None:
        with closing(HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)) as connection:
            while not self.over.is_set():
                connection.request("POST", "/v1/predictions", image("cat", 90), PNG)
                answer = connection.getresponse()
                body = answer.read()
                if answer.status == 200:
                    used = {part["id"] for part in json.loads(body)["components"]}
                    self.answers.append((time.monotonic(), used))
                else:
                    self.others.add(json.loads(body)["code"])

    def await_answer(self) -> set[str]:
        """Wait until the process has answered twice as many as it may have made already."""
        before, end = len(self.answers), time.monotonic() + PATIENCE
        while len(self.answers) < before + 2 * CLIENTS:
            assert time.monotonic() < end, "the process does not answer any more"
            time.sleep(0.05)
        return self.answers[-1][1]

    def end(self) -> None:
        """Let every client finish."""
        self.over.set()
        for client in self._clients:
            client.result(PATIENCE)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(CLIENTS) as threads:
        yield threads


def test_a_process_that_was_stopped_during_a_deletion_sends_no_late_answer(
    first: Service, pool: ThreadPoolExecutor, tmp_path: Path
):
    parts = [first.component({label: 2}) for label in LABELS]
    deleted: dict[str, float] = {}
    with serving(first.settings, tmp_path) as other:
        clients = Load(pool, other.port)
        for part in parts[:-1]:
            clients.await_answer()
            other.process.send_signal(signal.SIGSTOP)
            answer = first.client.delete(f"/v1/components/{part}")
            deleted[part] = time.monotonic()
            other.process.send_signal(signal.SIGCONT)
            assert answer.status_code == 200, answer.text
            assert f"/{other.process.pid}" in answer.headers["Unconfirmed-Processes"]
        assert clients.await_answer() == {parts[-1]}
        clients.end()
    late = [
        (when - deleted[part], part)
        for when, used in clients.answers
        for part in used & deleted.keys()
        if when > deleted[part]
    ]
    assert not late
    assert clients.others <= PAUSED
    assert clients.cut <= CLIENTS


def test_a_running_process_confirms_and_a_dead_one_is_waited_for_once(
    first: Service, tmp_path: Path
):
    parts = [first.component({label: 2}) for label in LABELS]
    with serving(first.settings, tmp_path) as other:
        answer = first.client.delete(f"/v1/components/{parts[0]}")
        assert "Unconfirmed-Processes" not in answer.headers
    answer = first.client.delete(f"/v1/components/{parts[1]}")
    assert f"/{other.process.pid}" in answer.headers["Unconfirmed-Processes"]
    answer = first.client.delete(f"/v1/components/{parts[2]}")
    assert "Unconfirmed-Processes" not in answer.headers


class HeldBack:
    """Answers that are made, and not yet on their way."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        hand_over, self.made, self.go = Ticket.hand_over, threading.Event(), threading.Event()

        def wait(ticket: Ticket, contents: Any) -> None:
            hand_over(ticket, contents)
            self.made.set()
            assert self.go.wait(60)

        monkeypatch.setattr(Ticket, "hand_over", wait)


def test_an_answer_that_another_process_s_deletion_overtakes_is_made_again(
    serve: Serve, first: Service, monkeypatch: pytest.MonkeyPatch
):
    gone, left = first.component({"cat": 2}), first.component({"dog": 2})
    second = serve(**first.settings.model_dump(exclude={"port"}))
    held = HeldBack(monkeypatch)
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(
            second.client.post, "/v1/predictions", content=image("cat", 90), headers=PNG
        )
        assert held.made.wait(60)
        assert first.client.delete(f"/v1/components/{gone}").status_code == 200
        held.go.set()
        answer = coming.result()
    assert answer.status_code == 200, answer.text
    assert [part["id"] for part in answer.json()["components"]] == [left]


def test_an_answer_that_was_stored_says_that_it_was_overtaken(
    serve: Serve, first: Service, monkeypatch: pytest.MonkeyPatch
):
    gone, left = first.component({"cat": 2}), first.component({"dog": 2})
    dataset_id = first.dataset({"cat": 2, "dog": 2}, start=50)
    second = serve(**first.settings.model_dump(exclude={"port"}))
    held = HeldBack(monkeypatch)
    body = {"dataset_id": dataset_id, "components": [{"id": gone}, {"id": left}]}
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(second.client.post, "/v1/evaluations", json=body, headers=WAIT)
        assert held.made.wait(60)
        assert first.client.delete(f"/v1/components/{gone}").status_code == 200
        held.go.set()
        problem(coming.result(), 503, "answer_overtaken")


def test_a_repeated_deletion_waits_for_other_processes_too(
    first: Service, monkeypatch: pytest.MonkeyPatch
):
    part = first.component({"cat": 2})
    epochs: list[int] = []
    monkeypatch.setattr(
        "app.inference.lease.Lease.await_others", lambda _, epoch: epochs.append(epoch) or []
    )
    for status in (200, 410):
        assert first.client.delete(f"/v1/components/{part}").status_code == status
    assert epochs == [1, 1]
