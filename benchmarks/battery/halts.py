"""A service that is killed or stopped at each named step, beside another one on the same data."""

import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import httpx

from benchmarks.battery.copies import Copy, command
from benchmarks.battery.kills import audit, doctor
from benchmarks.battery.party import Party
from benchmarks.battery.steps import Step, order

SIGNALS = ("SIGKILL", "SIGSTOP")
HALT_SECONDS = 60  # for a request to reach its step
SERVICE = ("serve", "--port", "0", "--no-worker")


class Halts:
    """Two services on one store, of which the first halts, and a party of each."""

    def __init__(self, folder: Path, database: str | None, seed: int) -> None:
        self.folder, self.database = folder, database
        self.orders = folder.parent / "orders"
        command("migrate", folder=folder, database=database)
        self.beside = Copy(*SERVICE, folder=folder, database=database)
        self.halting = self._started()
        self.party, self.other = Party(seed), Party(seed + 0.5)
        self.longest = 0.0  # seconds of a request beside a stopped service

    def _started(self) -> Copy:
        return Copy(*SERVICE, folder=self.folder, database=self.database, orders=self.orders)

    def close(self) -> None:
        """Kill both services."""
        for each in (self.halting, self.beside):
            each.kill()

    def halt(self, name: str, step: Step) -> Iterator[str]:
        """Halt the first service at the step by this signal; yield what is lost or wrong."""
        url = self.halting.address()
        self.party.prepare(url, step.act)
        order(self.orders, name, step)
        request = threading.Thread(target=self._ask, args=(url,), daemon=True)
        request.start()
        if not self._has_halted():
            yield f"{step.name}: the request did not come there within {HALT_SECONDS} s"
        if name == "SIGSTOP":
            yield from self._work_beside()
            self.halting.signal(signal.SIGCONT)
        request.join(130)
        if not self.halting.is_alive():
            self.halting = self._started()
        for party in (self.party, self.other):
            party.settle(self.halting.address())
            yield from party.faults
            party.faults = []
        for service in (self.halting, self.beside):
            yield from audit(service.address(), [self.party, self.other])

    def _ask(self, url: str) -> None:
        with suppress(httpx.TransportError):
            self.party.ask_once(url)

    def _has_halted(self) -> bool:
        until = time.monotonic() + HALT_SECONDS
        while time.monotonic() < until:
            if not self.halting.is_alive() or self.halting.is_stopped():
                return True
            time.sleep(0.01)
        return False

    def _work_beside(self) -> Iterator[str]:
        """Read and write through the other service, which may refuse what has to wait."""
        url = self.beside.address()
        with httpx.Client(base_url=url, timeout=120, trust_env=False) as client:
            began = time.monotonic()
            shown = client.get("/v1/datasets")
            self.longest = max(self.longest, time.monotonic() - began)
            if shown.status_code != 200:
                yield f"beside a stopped service a list is answered {shown.status_code}"
        began = time.monotonic()
        self.other.prepare(url, "upload")
        self.other.ask_once(url)
        self.longest = max(self.longest, time.monotonic() - began)


def run(
    folder: Path,
    database: str | None,
    steps: Sequence[Step],
    seed: int,
    say: Callable[[str], None],
) -> list[str]:
    """Halt a service at each of the steps by each signal; return what is lost or wrong."""
    faults: list[str] = []
    halts = Halts(folder, database, seed)
    try:
        for step in steps:
            for name in SIGNALS:
                faults += [f"{name} at {step.name}: {each}" for each in halts.halt(name, step)]
    finally:
        halts.close()
    say(
        f"{len(SIGNALS) * len(steps)} halts at {len(steps)} steps; beside a stopped service the "
        f"longest wait was {halts.longest:.1f} s"
    )
    return faults + doctor(folder, database)
