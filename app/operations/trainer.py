"""A trainer of the API's own: a process that makes one component again, and is ended by a bound.

It is the worker's trainer, which reads database and blobs and writes to the job's folder only. In
a process of its own it takes neither the memory of the service nor, as it is nicer, its processors.
"""

import json
import os
import selectors
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic
from typing import IO, Any

from app.settings import Settings

MODULE = "training_worker.trainer"
NICENESS = 10  # of 19: answers come first
LOOK_SECONDS = 0.5  # between two looks whether the work is still wanted


class TrainerDied(Exception):
    """The trainer ended without a final message; `status` is how, as subprocess gives it."""

    def __init__(self, status: int) -> None:
        super().__init__(f"the trainer ended with status {status}")
        self.status = status


class TooLong(Exception):
    """The trainer was ended as it took longer than it may."""


class NotWanted(Exception):
    """The trainer was ended as nobody wants its result any more."""


def make_again(
    settings: Settings,
    component_id: str,
    folder: Path,
    *,
    seconds: float,
    is_wanted: Callable[[], bool],
) -> dict[str, Any]:
    """Return the trainer's final message, `done` or `failed`; the trainer has ended then.

    Raises:
        TooLong, NotWanted, TrainerDied: there is no final message.
    """
    command, end = [sys.executable, "-m", MODULE, str(os.getpid())], monotonic() + seconds
    process = subprocess.Popen(
        # Not a session: Linux may share the processors among them whatever the niceness.
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=0,
        process_group=0,
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        os.setpriority(os.PRIO_PROCESS, process.pid, NICENESS)
        job = json.dumps({"component_id": component_id, "folder": str(folder)})
        hello = settings.model_dump_json(exclude={"api_key"})
        process.stdin.write(f"{hello}\n{job}\n".encode())
        for line in _lines(process.stdout, end, is_wanted):
            message: dict[str, Any] = json.loads(line)
            if message["type"] in ("done", "failed"):
                return message
    except BrokenPipeError:
        pass
    finally:
        process.kill()
        status = process.wait()
        process.stdin.close()
        process.stdout.close()
    raise TrainerDied(status)


def _lines(stream: IO[bytes], end: float, is_wanted: Callable[[], bool]) -> Iterator[bytes]:
    """Yield whole lines until the stream ends; look again and again whether to go on."""
    rest = b""
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        looked = monotonic()
        while True:
            found = selector.select(LOOK_SECONDS)
            if monotonic() > end:
                raise TooLong
            if monotonic() - looked >= LOOK_SECONDS:
                looked = monotonic()
                if not is_wanted():
                    raise NotWanted
            if not found:
                continue
            data = os.read(stream.fileno(), 2**16)
            if not data:
                return
            *lines, rest = (rest + data).split(b"\n")
            yield from lines
