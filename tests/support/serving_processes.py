"""`tangent serve` as processes of their own, on a store that another service has made."""

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from app.settings import Settings
from tests.support.command import environment

ADDRESS = re.compile(r"http://127\.0\.0\.1:(\d+)/docs")


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
