"""The trainer: a process that takes one training after another and keeps the opened space warm.

It speaks in JSON lines. In, on stdin: the settings, then one job a line, `{component_id, folder}`.
Out, on what was stdout: `{"type": "ready"}`, then for each job any number of
`{"type": "progress", phase, step, total, loss, eta_seconds}` and one of

    {"type": "done", file, sha256, bytes, labels, metrics}  the file lies in the job's folder
    {"type": "failed", code, detail}                        an error that another try would repeat

It reads database and blobs and writes to the job's folder only. It dies with the worker that
started it: by the kernel's signal, and where there is none, because its stdin ends.
"""

import ctypes
import json
import os
import signal
import sys
import threading
import traceback
from pathlib import Path
from queue import SimpleQueue
from typing import IO, Any

from app.database import outages
from app.errors import Problem
from app.images.worker import die_with_parent
from app.settings import Settings
from tangent_composer.garbage import seldom_while_loading


def main() -> None:
    """Run until stdin ends or the parent dies; the parent's process id is the only argument."""
    die_with_parent(int(sys.argv[1]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C is for the worker to handle
    protocol = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # a library's output is no message
    lines: SimpleQueue[str] = SimpleQueue()
    threading.Thread(target=read_lines, args=(sys.stdin, lines), daemon=True).start()
    settings = Settings(**json.loads(lines.get()))
    sleep_while_waiting()
    with seldom_while_loading():
        from training_worker.training import Training  # torch takes seconds: not before all that
    training = Training(settings)
    say(protocol, type="ready")
    while True:
        say(protocol, **run(training, json.loads(lines.get()), protocol))


def sleep_while_waiting() -> None:
    """Have torch's threads sleep, not spin, between operations; to be called before torch loads.

    Threads of the API and of the trainer that spin for each other's cores cost both of them most of
    the machine. A set OMP_WAIT_POLICY is kept.
    """
    if os.name == "posix":
        ctypes.CDLL(None).setenv(b"OMP_WAIT_POLICY", b"PASSIVE", 0)  # 0: keep a value that is set


def read_lines(stream: IO[str], lines: "SimpleQueue[str]") -> None:
    """Pass lines on until the stream ends, then end the process, whatever it is doing."""
    for line in stream:
        lines.put(line)
    os._exit(0)


def run(training: Any, job: dict[str, Any], protocol: IO[str]) -> dict[str, Any]:
    """Run one job; return its final message."""
    try:
        done = training.run(
            job["component_id"],
            Path(job["folder"]),
            lambda progress: say(protocol, type="progress", **progress),
        )
        return {"type": "done", **done}
    except MemoryError:
        raise  # as when the kernel kills us: a fresh process may have more
    except Problem as problem:
        return {"type": "failed", "code": problem.code, "detail": problem.detail}
    except Exception as error:
        code = getattr(error, "code", None)
        if isinstance(code, str) and type(error).__module__.startswith("tangent."):
            return {"type": "failed", "code": code, "detail": str(error)}
        traceback.print_exc()
        outage = outages.problem_of(error)
        if outage is not None:
            return {"type": "failed", "code": outage.code, "detail": outage.detail}
        detail = f"the training ended with {type(error).__name__}: {error}"
        return {"type": "failed", "code": "training_error", "detail": detail}


def say(protocol: IO[str], **message: Any) -> None:
    """Write one message."""
    protocol.write(json.dumps(message) + "\n")


if __name__ == "__main__":
    main()
