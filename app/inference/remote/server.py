"""The engine's process: answers calls of API processes, and ends with the one that started it.

    python -m app.inference.remote.server ADDRESS PARENT < settings.json

It writes one line of JSON to its standard output once it can answer, or the reason why it cannot.
One thread has the socket. An answer whose model is in memory waits for its batch and no thread
waits with it; other calls each take a thread of those of their kind.
"""

import json
import logging
import os
import shutil
import signal
import sys
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Lock
from typing import Any

import zmq

from app.files.blobs import LocalBlobs
from app.inference.engine.engine import Engine
from app.inference.engine.metrics import EngineMetrics
from app.inference.remote.bundles import bundled, unbundled
from app.inference.remote.connection import WakeUp
from app.inference.remote.wire import Frames, packed, told, unpacked
from app.server.garbage import collect_rarely
from app.server.logs import set_up_logs
from app.settings import Settings

POLL_MILLISECONDS = 500  # between two looks at whether the parent lives
THREADS = 8  # of each kind of call
# Calls by their kinds. One kind waits for no other's threads: a deletion ends an engine that does
# not forget in seconds, and attributions take many of them.
KINDS = {
    "forgetting": ("forget", "forget_what_came_back", "respect"),
    "looking": ("environment", "metrics_text", "named_temperature"),
    "checking": ("canary",),
    "answering": ("compose",),  # and runs of models that are not in memory
    "working": (
        *("accept", "answer_hash", "attribution", "calibrate", "calibrate_again", "change"),
        *("effects", "examine", "fit_temperature", "fit_weights", "hash_environment", "measure"),
        *("merges_needing_images", "open", "plan_merge", "probe", "readouts", "scores_without"),
        "write_card",
    ),
}
KIND_OF = {call: kind for kind, calls in KINDS.items() for call in calls}

Call = tuple[bytes, bytes]  # its process's connection, and its number there

log = logging.getLogger(__name__)


class Server:
    """Answers calls that come over one socket."""

    def __init__(self, engine: Engine, address: str) -> None:
        self._engine = engine
        self._threads = {
            kind: ThreadPoolExecutor(THREADS, thread_name_prefix=f"engine-{kind}") for kind in KINDS
        }
        self._socket: Any = zmq.Context.instance().socket(zmq.ROUTER)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.set_hwm(0)  # the queue of images has a bound, and answers must not be lost
        self._socket.bind(address)
        self._outbox: SimpleQueue[tuple[Call, Frames | Future[Any]]] = SimpleQueue()
        self._wake_up = WakeUp()
        engine.batches.answered = self._wake_up.call  # once for all answers of a batch
        self._lock = Lock()
        # Calls that somebody waits for, with the futures of those whose images wait.
        self._open: dict[Call, Future[Any] | None] = {}

    def serve(self, parent: int) -> None:
        """Answer until the parent process has ended."""
        poller = zmq.Poller()
        poller.register(self._socket, zmq.POLLIN)
        poller.register(self._wake_up.fd, zmq.POLLIN)
        while os.getppid() == parent:
            ready = dict(poller.poll(POLL_MILLISECONDS))
            if self._wake_up.fd in ready:
                self._wake_up.clear()
                self._send_answers()
            if self._socket in ready:
                self._receive()

    def _receive(self) -> None:
        while True:
            try:
                client, *sent = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            for number, *message in unbundled(sent):
                self._take((client, number), message)

    def _take(self, call: Call, message: Frames) -> None:
        if not message:
            self._drop(call)
            return
        self._open[call] = None

        def answer(value: Any, error: BaseException | None = None) -> None:
            self._answer(call, value, error)

        try:
            name, given, named = unpacked(message)
            if name == "run":
                self._run(call, given, named, answer)
            elif name == "about":
                answer({"device": self._engine.device_name, "pid": os.getpid()})
            elif name in KIND_OF:
                self._submit(KIND_OF[name], call, partial(self._call, name, given, named, answer))
            else:
                raise ValueError(f"the engine has no call {name!r}")
        except BaseException as error:
            answer(None, error)

    def _drop(self, call: Call) -> None:
        """Forget a call that nobody waits for any more, and its images."""
        with self._lock:
            passed = self._open.pop(call, None)
        if passed is not None:
            passed.cancel()

    def _run(
        self, call: Call, given: list[Any], named: dict[str, Any], answer: Callable[..., None]
    ) -> None:
        def begin() -> None:
            try:
                passed = self._engine.begin(*given, **named)
            except BaseException as error:
                answer(None, error)
                return
            with self._lock:
                is_wanted = call in self._open
                if is_wanted:
                    self._open[call] = passed
            if not is_wanted:
                passed.cancel()
            passed.add_done_callback(lambda done: self._outbox.put((call, done)))
            if passed.done():  # its batch may have been answered before
                self._wake_up.call()

        if self._engine.begins_at_once(given[0]):
            begin()
        else:
            self._submit("answering", call, begin)

    def _submit(self, kind: str, call: Call, work: Callable[[], None]) -> None:
        """Do the call's work in a thread of its kind, if somebody still waits for it then."""

        def work_if_wanted() -> None:
            with self._lock:
                is_wanted = call in self._open
            if is_wanted:
                work()

        self._threads[kind].submit(work_if_wanted)

    def _call(
        self, name: str, given: list[Any], named: dict[str, Any], answer: Callable[..., None]
    ) -> None:
        try:
            value = getattr(self._engine, name)(*given, **named)
        except BaseException as error:
            answer(None, error)
        else:
            answer(value)

    def _answer(self, call: Call, value: Any, error: BaseException | None) -> None:
        self._outbox.put((call, _frames(value, error)))
        self._wake_up.call()

    def _send_answers(self) -> None:
        by_client: dict[bytes, list[Frames]] = {}
        with suppress(Empty):
            while True:
                (client, number), made = self._outbox.get_nowait()
                if (answer := self._wanted((client, number), made)) is not None:
                    by_client.setdefault(client, []).append([number, *answer])
        for client, answers in by_client.items():
            for sent in bundled(answers):  # if the process has ended meanwhile, they are dropped
                self._socket.send_multipart([client, *sent], copy=False)

    def _wanted(self, call: Call, made: Frames | Future[Any]) -> Frames | None:
        """Return the answer to the call; None if nobody waits for it any more."""
        with self._lock:
            is_wanted = call in self._open
            self._open.pop(call, None)
        if not is_wanted:
            return None
        if not isinstance(made, Future):
            return made
        if made.cancelled():
            return None
        error = made.exception()
        return _frames(None if error else made.result(), error)


def _frames(value: Any, error: BaseException | None) -> Frames:
    """Return the answer as it is sent; an error if the value cannot be packed."""
    try:
        return _packed(value, error)
    except Exception as fault:  # in the socket's thread it would end the process
        return _packed(None, fault)


def _packed(value: Any, error: BaseException | None) -> Frames:
    if error is None:
        return packed(["value", value])
    about = told(error)
    if about["kind"] == "EngineFault":
        log.error("the engine failed", exc_info=error)
    return packed(["error", about])


def main() -> None:
    """Open the engine and answer until the parent ends."""
    address, parent = sys.argv[1], int(sys.argv[2])
    for number in (signal.SIGINT, signal.SIGTERM):  # they come to all processes of a service
        signal.signal(number, signal.SIG_IGN)  # the parent ends, and then this one does
    settings = Settings(**json.load(sys.stdin))
    set_up_logs(settings, "engine")
    try:
        engine = Engine(settings, LocalBlobs(settings.data_dir / "blobs"), EngineMetrics())
        server = Server(engine, address)
    except Exception as error:
        print(json.dumps({"error": told(error)}), flush=True)
        raise SystemExit(1) from error
    collect_rarely()
    print(json.dumps({"device": engine.device_name}), flush=True)
    server.serve(parent)
    shutil.rmtree(Path(address.removeprefix("ipc://")).parent, ignore_errors=True)
    os._exit(0)  # whatever still computes


if __name__ == "__main__":
    main()
