"""Commands of the service as processes that begin with its code loaded, to be killed often.

A copy is a process like any other, with an id to kill and nothing open; only its memory is shared
with others, so that what a service takes is measured on the real command.
"""

import os
import signal
import sys
import time
from multiprocessing import get_context
from pathlib import Path

from benchmarks.battery.processes import ADDRESS, START_SECONDS

CONTEXT = get_context("forkserver")
CONTEXT.set_forkserver_preload(
    ["app.cli.serve_command", "app.unlearning.unlearn", "training_worker.worker"]
)


def _run(words: list[str], variables: dict[str, str], log: str, orders: Path | None) -> None:
    """Become the command `tangent` with these words."""
    for name in [name for name in os.environ if name.startswith("TANGENT_")]:
        del os.environ[name]
    os.environ.update(variables)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.dup2(output, 1)
    os.dup2(output, 2)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    if orders is not None:
        from benchmarks.battery.steps import obey

        obey(orders)
    from app.cli import main

    sys.exit(main(words))


def command(*words: str, folder: Path, database: str | None) -> str:
    """Run a command to its end; return what it printed."""
    copy = Copy(*words, folder=folder, database=database)
    try:
        copy.wait(START_SECONDS)
        return copy.log.read_text(errors="replace")
    finally:
        copy.kill()


class Copy:
    """One command that runs on a folder and a database until it is killed or ended."""

    def __init__(
        self, *words: str, folder: Path, database: str | None, orders: Path | None = None
    ) -> None:
        """Start it; `orders` is the file by which it is told to halt at a step."""
        self.log = folder.parent / f"{words[0]}-{time.monotonic_ns()}.log"
        variables = {"OMP_NUM_THREADS": "1"}
        if database is not None:
            variables["TANGENT_DATABASE_URL"] = database
        given = [*words, "--data-dir", str(folder)]
        arguments = given, variables, str(self.log), orders
        self._process = CONTEXT.Process(target=_run, args=arguments, daemon=True)
        self._process.start()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    def address(self) -> str:
        """Return the URL of a service once it answers."""
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until and self._process.is_alive():
            if self.log.exists() and (found := ADDRESS.search(self.log.read_text())):
                return found[0]
            time.sleep(0.02)
        raise SystemExit(f"the service did not start:\n{self.log.read_text(errors='replace')}")

    def signal(self, number: int) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)

    def is_stopped(self) -> bool:
        """Return whether SIGSTOP has halted it; what has just ended is not halted."""
        try:
            status = Path(f"/proc/{self.pid}/stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            return False
        return status.rpartition(")")[2].split()[0] == "T"

    def is_alive(self) -> bool:
        """Return whether it has not ended."""
        return self._process.is_alive()

    def kill(self) -> None:
        """Kill it, as a crash or the lack of memory would; do nothing if it has ended."""
        self._process.kill()
        self._process.join()

    def wait(self, seconds: float) -> None:
        """Wait for its end, for at most so long."""
        self._process.join(seconds)

    def end(self) -> bool:
        """Ask it to end; return whether it did."""
        if self._process.is_alive():
            self.signal(signal.SIGTERM)
        self._process.join(40)
        ended = self._process.exitcode == 0
        self.kill()
        return ended
