"""One of several API processes, on an address and an engine that it is given.

    python -m app.cli.api_process < JSON

The first line of its standard input says what it needs. It writes a line once it answers, and ends
when its standard input does, as the process that started it is gone then.
"""

import json
import os
import shutil
import signal
import sys
from pathlib import Path
from threading import Thread

from app.cli import api_server
from app.cli.listeners import open_beside
from app.inference.remote.remote_engine import RemoteEngine
from app.main import create_app
from app.server.api_processes import READY, WORKER_FAULT
from app.server.logs import set_up_logs
from app.settings import Settings


def main() -> int:
    """Answer until the signal to end; return the exit status."""
    told = json.loads(sys.stdin.readline())
    settings, folder = Settings(**told["settings"]), Path(told["folder"])
    set_up_logs(settings, "api")
    parent = Thread(target=_end_with_parent, name="parent", daemon=True)
    parent.start()
    app = create_app(settings, shared_metrics=folder)
    app.state.alone_at = told["alone_at"]
    app.state.worker_fault = lambda: read_fault(folder / WORKER_FAULT)
    app.state.engine = RemoteEngine(settings, told["engine"])
    listener = open_beside(told["family"], tuple(told["address"]))
    status = api_server.run(app, listener, lambda _: print(READY, flush=True))
    if not parent.is_alive():  # so nobody else removes it
        shutil.rmtree(folder, ignore_errors=True)
    api_server.leave(status)
    return status


def _end_with_parent() -> None:
    sys.stdin.read()
    os.kill(os.getpid(), signal.SIGTERM)


def read_fault(file: Path) -> str | None:
    """Return why no worker runs beside the processes; None while one does."""
    try:
        return file.read_text()
    except FileNotFoundError:
        return None


if __name__ == "__main__":
    sys.exit(main())
