"""Loads as a measurement plans them, and what came back; a process of its own sends each."""

import json
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

from benchmarks.load.tally import FULL

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Request:
    """A POST of a file's bytes."""

    path: str
    type: str
    body: str  # the file's path


@dataclass(frozen=True)
class Load:
    """Requests in turn to one address: by so many clients, or at a mean rate of requests/s."""

    url: str
    requests: list[Request]
    clients: int = 1
    rate: float | None = None
    seconds: float = 8.0  # that count
    warm: float = 1.0  # before them
    drain: float = 60.0  # for answers that are missing at the end
    limit: int = 100_000  # of requests
    seed: int = 1
    watch: bool = False  # note when each component was in an answer

    def plan(self) -> dict[str, Any]:
        """Return what the sending process reads."""
        where = urlsplit(self.url)
        return asdict(self) | {"host": where.hostname, "port": where.port}


@dataclass(frozen=True)
class Outcome:
    """The answers to one load; latencies in milliseconds, of answers with status 200."""

    seconds: float
    answered: int
    p50: float | None
    p95: float | None
    p99: float | None
    statuses: dict[str, int]
    failures: dict[str, int]
    phases: dict[str, float] = field(default_factory=dict)
    seen: dict[str, list[float]] = field(default_factory=dict)
    sender_share: float = 0.0

    @property
    def rate(self) -> float:
        """Requests answered a second."""
        return self.answered / self.seconds if self.seconds > 0 else 0.0

    @property
    def answers(self) -> int:
        """Answers with status 200, those outside the window included."""
        return self.statuses.get("200", 0)

    @property
    def refused(self) -> int:
        """Requests that found the queue full."""
        return self.statuses.get(FULL, 0)

    @property
    def errors(self) -> dict[str, int]:
        """Other statuses than 200 and 429, and requests without an answer, by kind."""
        wrong = {k: n for k, n in self.statuses.items() if k not in ("200", FULL)}
        return wrong | self.failures


class Sending:
    """Sends a load beside the block; `outcome` is there after it."""

    outcome: Outcome

    def __init__(self, load: Load) -> None:
        self._load = load
        self._most = load.warm + load.seconds + load.drain + 30

    def __enter__(self) -> "Sending":
        with tempfile.NamedTemporaryFile("w", suffix=".json", delete=False) as file:
            json.dump(self._load.plan(), file)
        self._plan = Path(file.name)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.load.sender", file.name],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def stop(self) -> None:
        """Have no further request sent; those that are sent are answered."""
        self._process.terminate()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if error is not None:
                self._process.kill()
            printed, _ = self._process.communicate(timeout=self._most)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
            raise
        finally:
            self._plan.unlink()
        if error is None:
            if self._process.returncode:
                raise SystemExit("the sending process failed, see above")
            self.outcome = Outcome(**json.loads(printed))


def send(load: Load) -> Outcome:
    """Send the load; return what came back."""
    with Sending(load) as sending:
        pass
    return sending.outcome
