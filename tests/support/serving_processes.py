"""`tangent serve` as processes of their own, on a store that another service has made."""

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import NamedTuple

from app.cli import serve_command
from app.settings import Settings
from tests.support.command import environment
from tests.support.processes import CONTEXT

ADDRESS = re.compile(r"http://127\.0\.0\.1:(\d+)/$")


class Serving(NamedTuple):
    """A process that answers on a port of this machine."""

    process: subprocess.Popen[str]
    port: int


@contextmanager
def serving(settings: Settings, folder: Path) -> Iterator[Serving]:
    """Run `tangent serve` without a worker, with these settings, until the block ends."""
    known = settings.model_dump(exclude_none=True, mode="json", exclude={"port"})
    variables = {f"TANGENT_{name.upper()}": str(value) for name, value in known.items()}
    command = [sys.executable, "-m", "app.cli", "serve", "--port", "0", "--no-worker"]
    process = subprocess.Popen(
        command, env=environment() | variables, cwd=folder, stdout=subprocess.PIPE, text=True
    )
    try:
        line = process.stdout.readline()
        found = ADDRESS.search(line)
        assert found, line
        yield Serving(process, int(found[1]))
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def _serve(settings: Settings) -> None:
    sys.exit(serve_command.serve(settings, with_worker=False))


@contextmanager
def serving_unasked(settings: Settings) -> Iterator[BaseProcess]:
    """Run a service that nobody asks anything, in a process that has the code loaded."""
    process = CONTEXT.Process(target=_serve, args=(settings.model_copy(update={"port": 0}),))
    process.start()
    try:
        yield process
    finally:
        process.kill()
        process.join()
