"""The process that sends a load: `python -m benchmarks.load.sender PLAN` prints the outcome.

A closed load has clients that each send when they have their answer. An open load sends at random
moments of a mean rate, whatever the answers do; its latencies count from the moment at which a
request was due. Only the standard library is loaded, so that the process takes little of a core.
"""

import asyncio
import itertools
import json
import random
import re
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from time import monotonic
from typing import Any

from benchmarks.load.connection import Answer, Connection, connected
from benchmarks.load.tally import FULL, Tally

MAX_CONNECTIONS = 400  # of an open load, below the service's bound for one address
MAX_WAITING = 4000  # requests of an open load that are due and not answered
RETRY_AFTER = re.compile(rb"\r\nretry-after: *(\d+)", re.I)


class Load:
    """One load on one address."""

    def __init__(self, plan: dict[str, Any]) -> None:
        self.plan, self.left = plan, plan["limit"]
        self.end = monotonic() + plan["warm"] + plan["seconds"]
        self.tally = Tally(self.end - plan["seconds"], self.end, watch=plan["watch"])
        self._requests: Iterator[bytes] = itertools.cycle(_requests(plan))
        self._idle: list[Connection] = []
        self._free = asyncio.Semaphore(MAX_CONNECTIONS)

    async def run(self) -> None:
        """Send until the end, the limit or SIGTERM; wait for what is not answered, in bounds."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self._stop)
        if self.plan["rate"] is None:
            tasks = {asyncio.create_task(self._repeat()) for _ in range(self.plan["clients"])}
        else:
            tasks = await self._arrivals(self.plan["rate"])
        patience = max(0.0, self.end - monotonic()) + self.plan["drain"]
        _, late = await asyncio.wait(tasks, timeout=patience) if tasks else (tasks, set())
        if late:
            self.tally.failures["not answered"] += len(late)
            for task in late:
                task.cancel()
            await asyncio.wait(late)
        if self.left <= 0:  # an end before its time: the window ends with the last answer
            self.tally.end = min(self.tally.end, monotonic())

    def _stop(self) -> None:
        self.left = 0

    async def _repeat(self) -> None:
        """Send one request after another, as one client."""
        connection, first = None, True
        while monotonic() < self.end and self.left > 0:
            self.left -= 1
            connection, answer = await self._ask(connection, monotonic(), first=first)
            first = False
            if answer is None or str(answer.status) == FULL:
                asked = RETRY_AFTER.search(answer.head) if answer else None
                wait = float(asked[1]) if asked else 0.05
                await asyncio.sleep(max(0.0, min(wait, self.end - monotonic())))

    async def _arrivals(self, rate: float) -> set[asyncio.Task[None]]:
        """Start a request at each moment of a Poisson process; return those not answered yet."""
        chance, due = random.Random(self.plan["seed"]), monotonic()  # noqa: S311
        tasks: set[asyncio.Task[None]] = set()
        while due < self.end and self.left > 0:
            await asyncio.sleep(max(0.0, due - monotonic()))
            if len(tasks) < MAX_WAITING:
                self.left -= 1
                task = asyncio.create_task(self._arrived(due))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
            else:
                self.tally.failures["not sent, too many wait"] += 1
            due += chance.expovariate(rate)
        return set(tasks)

    async def _arrived(self, due: float) -> None:
        async with self._free:
            connection, _ = await self._ask(self._idle.pop() if self._idle else None, due)
            if connection is not None:
                self._idle.append(connection)

    async def _ask(
        self, connection: Connection | None, due: float, *, first: bool = False
    ) -> tuple[Connection | None, Answer | None]:
        """Send the next request and count its answer; return the connection while it is open."""
        try:
            if connection is None or not connection.is_open:
                connection = await connected(self.plan["host"], self.plan["port"])
            answer = await connection.ask(next(self._requests))
        except (OSError, ValueError) as error:
            self.tally.failures[f"{type(error).__name__}: {error}"] += 1
            return None, None
        self.tally.take(answer, due, monotonic(), first=first)
        return connection, answer


def _requests(plan: dict[str, Any]) -> list[bytes]:
    """Return the requests' bytes; a body that several have is read once."""
    bodies = {path: Path(path).read_bytes() for path in {each["body"] for each in plan["requests"]}}
    made = []
    for each in plan["requests"]:
        body = bodies[each["body"]]
        head = (
            f"POST {each['path']} HTTP/1.1\r\nHost: {plan['host']}:{plan['port']}\r\n"
            f"Content-Type: {each['type']}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        made.append(head.encode() + body)
    return made


def main() -> None:
    """Run the plan in the file that is named; print the outcome."""
    plan = json.loads(Path(sys.argv[1]).read_text())
    began, used = monotonic(), time.process_time()

    async def run() -> Load:
        load = Load(plan)
        await load.run()
        return load

    outcome = asyncio.run(run()).tally.outcome()
    outcome["sender_share"] = (time.process_time() - used) / (monotonic() - began)
    print(json.dumps(outcome))


if __name__ == "__main__":
    main()
