"""Predictions wait for each other in a bounded queue, and nothing else waits behind them."""

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial

import httpx
import numpy as np
import pytest

from app.api.http import thread_pools
from app.api.http.thread_pools import PredictionTurns
from app.images.shared_orders import SMALL_BYTES
from app.inference.opened_spaces import OpenedSpaces
from app.operations.prediction import Prediction, Work
from tests.support.client import delete, upload
from tests.support.images import archive, image
from tests.support.problems import problem
from tests.support.service import Service

SCOPE = "head"
PNG = {"Content-Type": "image/png"}
THREADS, WAITING = 2, 3
BOUNDS = {"max_concurrent_predictions": THREADS, "max_waiting_predictions": WAITING}


class Held:
    """Predictions that are held back when their work begins, until `go`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        predict, self.begun, self.go = Work.predict, [], threading.Event()

        async def wait(work: Work) -> Prediction:
            self.begun.append(work)
            while not self.go.is_set():
                await asyncio.sleep(0.01)
            return await predict(work)

        monkeypatch.setattr(Work, "predict", wait)


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[Held]:
    holding = Held(monkeypatch)
    yield holding
    holding.go.set()


@pytest.fixture
def bounded(serve: Callable[..., Service]) -> Service:
    """A service with few threads for predictions, and a component."""
    service = serve(**BOUNDS)
    service.component({"cat": 2})
    return service


def ask(service: Service) -> httpx.Response:
    return service.client.post("/v1/predictions", content=image("cat", 90), headers=PNG)


def send(service: Service) -> socket.socket:
    """Send a prediction's request; return the connection, to be closed before the answer."""
    body, url = image("cat", 90), service.client.base_url
    lines = ("POST /v1/predictions HTTP/1.1", f"Host: {url.host}", "Content-Type: image/png")
    head = "\r\n".join((*lines, f"Content-Length: {len(body)}", "", ""))
    connection = socket.create_connection((url.host, url.port))
    connection.sendall(head.encode() + body)
    return connection


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def waiting(service: Service) -> int:
    return service.app.state.threads.predictions.waiting


def fill(service: Service, pool: ThreadPoolExecutor, held: Held) -> list[Future[httpx.Response]]:
    """Have all threads work and all places in the queue be taken."""
    sent = [pool.submit(ask, service) for _ in range(THREADS)]
    until(lambda: len(held.begun) == THREADS)
    sent += [pool.submit(ask, service) for _ in range(WAITING)]
    until(lambda: waiting(service) == WAITING)
    return sent


def test_deletions_and_health_wait_behind_no_prediction(bounded: Service, held: Held):
    gone = bounded.component({"dog": 2})
    with ThreadPoolExecutor(THREADS + WAITING) as pool:
        sent = fill(bounded, pool, held)
        for path in ("/livez", "/readyz", "/metrics", "/v1/components"):
            assert bounded.client.get(path).status_code == 200
        assert bounded.client.delete(f"/v1/components/{gone}").status_code == 200
        assert not any(each.done() for each in sent)
        held.go.set()
        answers = [each.result(60) for each in sent]
    assert [answer.status_code for answer in answers] == [200] * len(sent)
    assert not any(gone in answer.text for answer in answers)


def test_beyond_the_queue_predictions_are_answered_at_once(bounded: Service, held: Held):
    with ThreadPoolExecutor(THREADS + WAITING) as pool:
        sent = fill(bounded, pool, held)
        answer = ask(bounded)
        problem(answer, 429, "queue_full")
        assert answer.headers["Retry-After"] == "1"
        held.go.set()
        assert [each.result(60).status_code for each in sent] == [200] * len(sent)
    assert ask(bounded).status_code == 200


def test_images_of_clients_that_left_are_not_computed(bounded: Service, held: Held):
    with ThreadPoolExecutor(THREADS) as pool, ExitStack() as sockets:
        sent = [pool.submit(ask, bounded) for _ in range(THREADS)]
        until(lambda: len(held.begun) == THREADS)
        left = [sockets.enter_context(send(bounded)) for _ in range(WAITING)]
        until(lambda: waiting(bounded) == WAITING)
        for each in left:
            each.close()
        until(lambda: waiting(bounded) == 0)
        held.go.set()
        assert [each.result(60).status_code for each in sent] == [200] * THREADS
    assert ask(bounded).status_code == 200
    assert len(held.begun) == THREADS + 1


def test_what_a_client_has_left_behind_is_not_decoded(
    bounded: Service, held: Held, monkeypatch: pytest.MonkeyPatch
):
    decoded, decode = [], Work._decoded
    monkeypatch.setattr(
        Work, "_decoded", lambda work, *given: (decoded.append(given), decode(work, *given))[1]
    )
    with send(bounded):
        until(lambda: len(held.begun) == 1)
    until(lambda: held.begun[0].ticket.has_left)
    held.go.set()
    assert ask(bounded).status_code == 200
    assert len(decoded) == 1


def test_what_clients_have_left_behind_takes_no_more_threads_than_there_are():
    go, begun = threading.Event(), []

    def work(name: str) -> None:
        begun.append(name)
        assert go.wait(60)

    async def leave_and_come_again() -> None:
        turns = PredictionTurns(THREADS, WAITING)
        left = [asyncio.create_task(turns.call(partial(work, "left"))) for _ in range(THREADS + 1)]
        while len(begun) < THREADS:
            await asyncio.sleep(0.01)
        for each in left:
            each.cancel()
        await asyncio.wait(left)
        later = asyncio.create_task(turns.call(partial(work, "later")))
        await asyncio.sleep(0.2)
        assert begun == ["left"] * THREADS
        go.set()
        await later
        assert begun == ["left"] * THREADS + ["later"]

    asyncio.run(leave_and_come_again())


def test_no_look_at_rows_waits_behind_costly_images():
    go = threading.Event()

    async def decode_and_look() -> None:
        turns = PredictionTurns(THREADS, WAITING)
        decoding = [asyncio.create_task(turns.call(partial(go.wait, 60))) for _ in range(9)]
        await asyncio.sleep(0.1)
        assert await asyncio.wait_for(turns.read(lambda: "a row"), 30) == "a row"
        assert not any(each.done() for each in decoding)
        go.set()
        await asyncio.gather(*decoding)

    asyncio.run(decode_and_look())


def test_a_new_selection_is_answered_while_all_threads_decode(
    serve: Callable[..., Service], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(thread_pools, "PREDICTION_THREADS", 1)
    service = serve()
    service.component({"cat": 2})
    assert ask(service).status_code == 200  # there is a calibration
    go, begun = threading.Event(), []

    def held(*given: object) -> list[object]:
        begun.append(given)
        assert go.wait(60)
        return [np.zeros((32, 32, 3), np.uint8)]

    monkeypatch.setattr(OpenedSpaces, "pixels", held)
    large = {"content": image("cat", 90) + bytes(SMALL_BYTES), "headers": PNG}
    with ThreadPoolExecutor(1) as pool:
        later = pool.submit(service.client.post, "/v1/predictions", **large)
        until(lambda: len(begun) == 1)
        delete(service, f"datasets/{upload(service, archive({'owl': 1}))['id']}")
        assert ask(service).status_code == 200, "its selection was read again, after the deletion"
        assert len(begun) == 1 and not later.done()
        go.set()
        assert later.result().status_code == 200
