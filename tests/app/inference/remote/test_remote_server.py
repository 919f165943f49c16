"""The server of an engine's process answers every call, whatever comes out of the engine."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from itertools import count
from threading import Event
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import zmq

from app.inference.remote.bundles import bundled, unbundled
from app.inference.remote.server import THREADS, Server
from app.inference.remote.wire import packed, unpacked

MAX_POLLS = 2000


class Engine:
    """Answers with what it is given."""

    def __init__(self, answer: Any) -> None:
        self._answer, self.batches = answer, SimpleNamespace()

    def begins_at_once(self, _: Any) -> bool:
        return True

    def begin(self, _: Any) -> Future[Any]:
        made: Future[Any] = Future()
        made.set_result(self._answer)
        return made

    def readouts(self, _: Any) -> Any:
        return self._answer


class Taken(Engine):
    """Has no model in memory; its attributions and readouts last until `end`."""

    def __init__(self) -> None:
        super().__init__("answer")
        self.end, self.begun = Event(), list[int]()

    def begins_at_once(self, _: Any) -> bool:
        return False

    def attribution(self, _: Any) -> Any:
        self.begun.append(1)
        self.end.wait()
        return self._answer

    readouts = attribution

    def __getattr__(self, name: str) -> Any:
        return lambda _: name


class Caller:
    """Calls a server, which answers while `answer` waits for it."""

    def __init__(self, server: Server, address: str) -> None:
        self.server = server
        self.socket = zmq.Context.instance().socket(zmq.DEALER)
        self.socket.connect(address)
        self.numbers, self.answers = count(), deque[list[bytes]]()

    def call(self, name: str) -> bytes:
        number = f"{name} {next(self.numbers)}".encode()
        self.send([number, *packed([name, ["model"], {}])])
        return number

    def send(self, message: list[bytes]) -> None:
        for sent in bundled([message]):
            self.socket.send_multipart(sent)

    def answer(self) -> tuple[str, Any]:
        """The name of the call that is answered next, and its answer."""
        for _ in range(MAX_POLLS):
            self.server._receive()
            self.server._send_answers()
            if self.socket.poll(0 if self.answers else 5):
                self.answers += unbundled(self.socket.recv_multipart())
            if self.answers:
                number, *message = self.answers.popleft()
                return number.decode().split()[0], unpacked(message)
        raise AssertionError("there was no answer")


@contextmanager
def calling(address: str, engine: Engine) -> Iterator[Caller]:
    """A caller of a server with this engine."""
    server = Server(engine, address)
    caller = Caller(server, address)
    try:
        yield caller
    finally:
        caller.socket.close(0)
        server._socket.close(0)
        for threads in server._threads.values():
            threads.shutdown(wait=False)


def answered(address: str, engine: Engine, *names: str) -> list[Any]:
    """The answers of a server with this engine to calls with these names."""
    found = []
    with calling(address, engine) as caller:
        for name in names:
            caller.call(name)
            found.append(caller.answer()[1])
    return found


@pytest.mark.parametrize("call", ["run", "readouts"])
@pytest.mark.parametrize("answer", [object(), np.array([object()])], ids=["an object", "an array"])
def test_an_answer_that_cannot_be_sent_is_an_error_of_its_call_alone(call: str, answer: Any):
    first, second = answered(f"inproc://{call}", Engine([answer]), call, call)
    for kind, told in (first, second):
        assert (kind, told["kind"]) == ("error", "EngineFault")
        assert "a message cannot hold" in told["text"]


def test_an_answer_that_can_be_sent_is_sent():
    (found,) = answered("inproc://well", Engine([1, "two"]), "run")
    assert found == ["value", [1, "two"]]


@pytest.mark.parametrize("long", ["attribution", "readouts"])
def test_long_calls_hold_up_none_that_others_wait_for(long: str):
    engine = Taken()
    short = ("forget", "forget_what_came_back", "respect", "canary", "metrics_text", "environment")
    with calling(f"inproc://long {long}", engine) as caller:
        try:
            for _ in range(2 * THREADS):
                caller.call(long)
            for name in (*short, "compose", "named_temperature"):
                caller.call(name)
                assert caller.answer() == (name, ["value", name])
            caller.call("run")
            assert caller.answer() == ("run", ["value", "answer"])
        finally:
            engine.end.set()
        for _ in range(2 * THREADS):
            assert caller.answer() == (long, ["value", "answer"])


def test_a_call_that_nobody_waits_for_any_more_does_not_begin():
    engine = Taken()
    with calling("inproc://left", engine) as caller:
        try:
            numbers = [caller.call("attribution") for _ in range(2 * THREADS)]
            for number in numbers[THREADS:]:
                caller.send([number])
            caller.call("canary")
            assert caller.answer()[0] == "canary"  # so the server has taken all before
        finally:
            engine.end.set()
        for _ in range(THREADS):
            assert caller.answer()[0] == "attribution"
        caller.call("readouts")
        assert caller.answer()[0] == "readouts"
    assert len(engine.begun) == THREADS + 1
