"""The answers of one load, counted: latencies, statuses, phases, components seen."""

import re
from collections import Counter, defaultdict
from typing import Any

from benchmarks.load.connection import Answer

PHASES = re.compile(rb"\r\nserver-timing: *([^\r]*)", re.I)
PHASE = re.compile(rb"([\w-]+);dur=([\d.]+)")
COMPONENT = re.compile(rb'"id":"(cmp_[^"]+)"')
FULL = "429"  # the queue is full: counted apart, neither an answer nor an error


class Tally:
    """Counts answers; those that end inside the window count for throughput and latency."""

    def __init__(self, start: float, end: float, *, watch: bool) -> None:
        self.start, self.end, self.watch = start, end, watch
        self.answered, self.latencies = 0, list[float]()
        self.statuses, self.failures = Counter[str](), Counter[str]()
        self._phases: dict[str, list[float]] = defaultdict(lambda: [0.0, 0])
        self._seen: dict[str, list[float]] = defaultdict(list)

    def take(self, answer: Answer, asked: float, ended: float, *, first: bool) -> None:
        """Count an answer to a request that was due at `asked`.

        The `first` of a client tells no latency: all clients begin at once, before any queue.
        """
        self.statuses[str(answer.status)] += 1
        if self.watch:
            for name in set(COMPONENT.findall(answer.body)):
                self._seen[name.decode()].append(answer.came)
        if answer.status == 200 and self.start <= ended <= self.end:
            self.answered += 1
            if not first:
                self.latencies.append(ended - asked)
            if found := PHASES.search(answer.head):
                for name, milliseconds in PHASE.findall(found[1]):
                    phase = self._phases[name.decode()]
                    phase[0] += float(milliseconds)
                    phase[1] += 1

    def outcome(self) -> dict[str, Any]:
        """Return all of it as JSON has it; times in milliseconds but for the moments seen."""
        ordered = sorted(self.latencies)
        return {
            "seconds": self.end - self.start,
            "answered": self.answered,
            "p50": percentile(ordered, 50),
            "p95": percentile(ordered, 95),
            "p99": percentile(ordered, 99),
            "statuses": dict(self.statuses),
            "failures": dict(self.failures),
            "phases": {name: total / n for name, (total, n) in self._phases.items()},
            "seen": dict(self._seen),
        }


def percentile(ordered: list[float], percent: int) -> float | None:
    """Return the smallest value that so many percent do not exceed, in milliseconds."""
    if not ordered:
        return None
    return 1000 * ordered[-(-len(ordered) * percent // 100) - 1]
