"""Starts a service for the demo, on a free port and a new data folder; ends it or keeps it."""

import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

ADDRESS = re.compile(r"http://127\.0\.0\.1:\d+")
LOG = "service.log"  # in the data folder
# Variables that would select another database, or shut the demo out.
UNSET = ("TANGENT_DATABASE_URL", "TANGENT_API_KEY", "TANGENT_HOST")
TANGENT = ("env", *(f"-u{name}" for name in UNSET), sys.executable, "-m", "app.cli")


class NotStarted(Exception):
    """The service ended or did not answer in time; the message has the end of its log."""


@contextmanager
def started(folder: Path, *, keep: bool = False, patience: float = 300.0) -> Iterator[str]:
    """Start a service on this data folder, wait until it is ready, and yield its address.

    The service ends with the block, unless `keep` is set; if the block fails, it always ends.
    """
    log = folder / LOG
    subprocess.run([*TANGENT, "migrate", "--data-dir", folder], check=True)
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*TANGENT, "serve", "--port", "0", "--data-dir", folder],
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C reaches the demo alone, which then ends the service
        )
    kept = False
    try:
        yield _ready(process, log, patience)
        kept = keep
    finally:
        if kept:
            print(
                f"The service keeps running as process {process.pid}; `kill {process.pid}` ends it."
            )
            print(f"Its data and its log are in {folder}")
        else:
            end(process)


def temporary_folder() -> Path:
    """Make a temporary folder, which the caller removes."""
    return Path(tempfile.mkdtemp(prefix="tangent-demo-"))


def end(process: subprocess.Popen) -> None:
    """End the process, by force if it takes too long."""
    process.terminate()
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _ready(process: subprocess.Popen, log: Path, patience: float) -> str:
    until = time.monotonic() + patience
    while time.monotonic() < until and process.poll() is None:
        found = ADDRESS.search(log.read_text(errors="replace"))
        if found and _answers(found[0]):
            return found[0]
        time.sleep(0.1)
    raise NotStarted(
        f"the service was not ready within {patience:.0f} s; the end of its log:\n{end_of(log)}"
    )


def end_of(log: Path) -> str:
    """Return the last lines of a service's log."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-20:])


def _answers(address: str) -> bool:
    try:
        return httpx.get(f"{address}/readyz", timeout=5).is_success
    except httpx.TransportError:
        return False
