"""A private service as a process on loopback."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

TANGENT = (sys.executable, "-m", "app.cli")
ADDRESS = re.compile(r"http://127\.0\.0\.1:\d+")
START_SECONDS = 180


class Process:
    """A service that runs until it is ended or killed."""

    def __init__(
        self,
        folder: Path,
        *,
        database: str | None,
        worker: bool,
        settings: dict[str, str] | None = None,
    ) -> None:
        self.folder, self.log = folder, folder.parent / "service.log"
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith("TANGENT_")}
        self.environment |= settings or {}
        if database:
            self.environment["TANGENT_DATABASE_URL"] = database
        self.command("migrate")
        flags = () if worker else ("--no-worker",)
        with self.log.open("wb") as output:
            self._process = subprocess.Popen(
                [*TANGENT, "serve", "--port", "0", "--data-dir", str(folder), *flags],
                env=self.environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a group of its own
            )
        try:
            self.url = self._address()
        except BaseException:
            self.kill()
            raise

    @property
    def pid(self) -> int:
        return self._process.pid

    def command(self, *words: str) -> str:
        """Run a command on the same folder and database; return what it printed."""
        done = subprocess.run(
            [*TANGENT, *words, "--data-dir", str(self.folder)],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=START_SECONDS,
        )
        return done.stdout + done.stderr

    def kill(self) -> None:
        """Kill the service as a crash would; its worker ends by itself."""
        self._process.kill()
        self._process.wait()

    def end(self) -> bool:
        """End the service; return whether it ended by itself."""
        self._process.terminate()
        try:
            return self._process.wait(40) == 0
        except subprocess.TimeoutExpired:
            self.kill()
            return False

    def _address(self) -> str:
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until and self._process.poll() is None:
            if found := ADDRESS.search(self.log.read_text(errors="replace")):
                return found[0]
            time.sleep(0.1)
        raise SystemExit(f"the service did not start:\n{self.log.read_text(errors='replace')}")
