"""A running service and a worker that share a data folder.

Only settings, application, migration and command line are imported or run, so that other modules
may move without a change here.
"""

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn

from app.database.migrate import upgrade
from app.main import create_app
from app.settings import Settings
from benchmarks.structure.sources import ROOT

START_SECONDS = 60.0
DEVICE, THREADS = "cpu", 1  # of service and worker, whatever the environment says


@contextmanager
def serving(folder: Path) -> Iterator[tuple[str, int]]:
    """Yield the address of a service in a thread of this process; end it with the block."""
    settings = Settings(
        data_dir=folder, api_key=None, database_url=None, device=DEVICE, threads=THREADS
    )
    upgrade(settings)
    # asyncio sends at once only where the socket names its protocol; else answers wait 40 ms.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    config = uvicorn.Config(create_app(settings), log_config=None, timeout_graceful_shutdown=5)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        end = time.monotonic() + START_SECONDS
        while not server.started:
            if not thread.is_alive() or time.monotonic() > end:
                raise SystemExit("the service did not start: run `make run` to see why")
            time.sleep(0.01)
        yield listener.getsockname()[:2]
    finally:
        server.should_exit = True
        thread.join(START_SECONDS)
        listener.close()


@contextmanager
def working(folder: Path) -> Iterator[Path]:
    """Have a worker take this folder's trainings during the block; yield the path of its log."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("TANGENT_")
    }
    environment |= {"TANGENT_DEVICE": DEVICE, "TANGENT_THREADS": str(THREADS)}
    command = [sys.executable, "-m", "app.cli", "worker", "--data-dir", str(folder)]
    command += ["--parent", str(os.getpid())]
    path = folder / "worker.log"
    with path.open("wb") as log:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT
        )
    try:
        yield path
    finally:
        process.terminate()
        process.wait(START_SECONDS)
