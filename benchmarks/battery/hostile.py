"""Hostile requests to a service, one kind after the other, beside an honest client."""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import httpx

from benchmarks.battery.answers import Answers, listed, unhonest
from benchmarks.battery.copies import Copy, command
from benchmarks.battery.figures import MAX_MEMORY, MAX_WAIT
from benchmarks.battery.honest import Honest
from benchmarks.battery.inputs import Hostile, Target, png
from benchmarks.battery.processes import Process
from benchmarks.process_costs import MemoryWatch, cpu_seconds, of_family
from tangent_composer.samples import digits

MAX_ALLOWANCE = 4.0  # times as long as on an idle machine, however busy it is
READY_SECONDS = 300  # for a training of ten small images
LEFT_SECONDS = 10  # after which what is still there counts as left behind


class Outcome(NamedTuple):
    """The effects of one kind of hostile request."""

    name: str
    answers: Answers
    memory: int  # bytes, of the API and its children
    wait: float  # seconds, the longest of another's requests
    deletion: float  # seconds, the longest of another's deletions
    failures: Answers  # of the honest client
    left: int  # files
    others: float  # part of the processors that other programs took

    def missed(self, *, timed: bool) -> Iterator[str]:
        """Yield a sentence for each reach that was missed; those of time only if `timed`."""
        if self.memory > MAX_MEMORY:
            yield f"the API and its children took {self.memory / 1e9:.2f} GB, allowed are 1.5 GB"
        beside = listed(self.failures) or "none"
        if unhonest(self.answers) or unhonest(self.failures):
            yield f"a request was answered 5xx: {listed(self.answers)}; beside it {beside}"
        elif self.failures:
            yield f"the honest client was not served: {beside}"
        if self.left:
            yield f"{self.left} files were left behind"
        if timed:
            allowed = MAX_WAIT * self.allowance
            waits = (("another's request", self.wait), ("a deletion", self.deletion))
            for what, seconds in waits:
                if seconds > allowed:
                    yield (
                        f"{what} took {seconds:.1f} s, allowed are {allowed:.1f} s: {MAX_WAIT:g} s "
                        f"on an idle machine, and others took {self.others:.0%} of this one"
                    )

    @property
    def allowance(self) -> float:
        """Return how many times longer everything takes as others use the processors too."""
        return min(MAX_ALLOWANCE, 1 / max(1e-9, 1 - self.others))

    def row(self) -> list[str]:
        """Return the cells of its row in the printed table."""
        figures = (f"{self.memory / 1e6:.0f}", f"{self.wait:.1f}", f"{self.deletion:.1f}")
        rest = (listed(self.failures), str(self.left), f"{self.others:.0%}")
        return [self.name, listed(self.answers), *figures, *rest]


def run(
    folder: Path,
    database: str | None,
    inputs: Mapping[str, Hostile],
    hold: float,
    say: Callable[[Outcome], None],
) -> list[Outcome]:
    """Send every input to a private service; return what each did.

    Raises:
        SystemExit: the service does not start, or does not end by itself.
    """
    target = prepared(folder, database, hold)
    service = Process(folder, database=database, worker=False)
    found = []
    try:
        target = target._replace(url=service.url)
        for name, send in inputs.items():
            outcome = tried(service, target, name, send)
            say(outcome)
            found.append(outcome)
        if not service.end():
            raise SystemExit("the service did not end by itself within 40 s")
    finally:
        service.kill()
    return found


def tried(service: Process, target: Target, name: str, send: Hostile) -> Outcome:
    """Send one input beside an honest client."""
    before = _files(service.folder)
    with (
        Busy() as busy,
        MemoryWatch(lambda: of_family(service.pid)) as memory,
        Honest(service.url) as honest,
    ):
        time.sleep(1)
        answers = send(target)
        time.sleep(1)
    until = time.monotonic() + LEFT_SECONDS
    while (left := _files(service.folder) - before) and time.monotonic() < until:
        time.sleep(0.2)
    waits = honest.longest, honest.longest_deletion
    return Outcome(name, answers, memory.peak, *waits, honest.answers, len(left), busy.others)


class Busy:
    """Measures during a block which part of the processors other programs take: `others`."""

    others = 0.0

    def __enter__(self) -> "Busy":
        self._began, self._busy, self._own = time.monotonic(), _busy_seconds(), _own_seconds()
        return self

    def __exit__(self, *_: object) -> None:
        processors = os.cpu_count() or 1
        whole = (time.monotonic() - self._began) * processors
        taken = _busy_seconds() - self._busy - (_own_seconds() - self._own)
        self.others = min(1.0, max(0.0, taken / whole))


def _busy_seconds() -> float:
    """Return for how long the processors have worked since the start of the machine."""
    user, nice, system, _, _, irq, softirq, steal = map(
        int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    )
    busy = user + nice + system + irq + softirq + steal
    return float(busy / os.sysconf("SC_CLK_TCK"))


def _own_seconds() -> float:
    return cpu_seconds(os.getpid())


def prepared(data: Path, database: str | None, hold: float) -> Target:
    """Store a ready component, a queued one and a dataset of large images."""
    training, _ = digits.load(5)
    command("migrate", folder=data, database=database)
    service = Copy("serve", "--port", "0", "--no-worker", folder=data, database=database)
    worker = Copy("worker", folder=data, database=database)
    try:
        with httpx.Client(base_url=service.address(), timeout=120, trust_env=False) as client:
            ready = _uploaded(client, digits.archive(training, "01"), train="true")["component"]
            large = [
                digits.Digit(label, n, png(7000 + n, 7000)) for n in range(3) for label in "ab"
            ]
            dataset = _uploaded(client, digits.archive(large, "ab"))["id"]
            images = client.get(f"/v1/datasets/{dataset}/images").json()["data"]
            _wait_until_ready(client, ready["id"])
            worker.end()
            queued = _uploaded(client, digits.archive(training, "45"), train="true")["component"]
    finally:
        worker.kill()
        service.end()
    return Target("", ready["id"], queued["id"], dataset, [each["id"] for each in images], hold)


def _wait_until_ready(client: httpx.Client, component_id: str) -> None:
    until = time.monotonic() + READY_SECONDS
    while client.get(f"/v1/components/{component_id}").json()["status"] != "ready":
        if time.monotonic() > until:
            raise SystemExit(f"the component was not ready within {READY_SECONDS} s")
        time.sleep(0.5)


def _uploaded(client: httpx.Client, archive: bytes, **fields: str) -> dict:
    file = {"file": ("a.zip", archive, "application/zip")}
    answer: dict = client.post("/v1/datasets", files=file, data=fields).raise_for_status().json()
    return answer


def _files(data: Path) -> set[Path]:
    """Return the files of the data folder, without those of the database."""
    return {path for path in data.rglob("*") if path.is_file() and path.parent != data}
