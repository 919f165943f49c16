"""The bare engine's process, as seen from the measurement."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.load.environments import surroundings
from benchmarks.load.sending import ROOT


class Engine:
    """A process of `benchmarks.load.bare_engine`, which obeys while the block runs."""

    def __init__(self, threads: int) -> None:
        self.threads = threads

    def __enter__(self) -> "Engine":
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.load.bare_engine"],
            cwd=ROOT,
            env=surroundings(self.threads),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def order(self, do: str, **arguments: Any) -> Any:
        """Have the process do something; return what it gives."""
        assert self._process.stdin and self._process.stdout
        print(json.dumps({"do": do, **arguments}), file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"the bare engine ended at {do!r}, see above")
        return json.loads(line)

    def set_up(
        self, space: str, backbone: str, scope: str, images: list[str], folder: Path
    ) -> None:
        """Open a space and write components for it into the folder, once."""
        self.order("open", space=space, backbone=backbone, scope=scope, images=images)
        if not list(folder.glob(f"{space}-*.safetensors")):
            self.order("write_components", space=space, folder=str(folder))
