"""The server of an engine's process answers every call, whatever comes out of the engine."""

from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import zmq

from app.inference.remote.server import Server
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


def answered(address: str, engine: Engine, *names: str) -> list[Any]:
    """The answers of a server with this engine to calls with these names."""
    server = Server(engine, address)
    caller = zmq.Context.instance().socket(zmq.DEALER)
    caller.connect(address)
    try:
        found = []
        for name in names:
            caller.send_multipart([b"1", *packed([name, ["model"], {}])])
            for _ in range(MAX_POLLS):
                server._receive()
                server._send_answers()
                if caller.poll(5):
                    break
            else:
                raise AssertionError(f"{name} was never answered")
            found.append(unpacked(caller.recv_multipart()[1:]))
        return found
    finally:
        caller.close(0)
        server._socket.close(0)
        server._threads.shutdown()


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
