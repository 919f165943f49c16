"""Processes with leases in one thread: every order of their steps, pauses and clocks, by a seed.

world = World(seed); world.run(steps)        raises Late if an answer leaves too late

The leases are the service's own. Whatever they do with their rows takes time, and other processes
may act before and after; a process may also be stopped for longer than a lease, or killed.
"""

import random
from collections.abc import Callable

from greenlet import getcurrent, greenlet

from app.inference.answering_processes import Look, Process
from app.inference.lease import Lease

SECONDS = 1.0  # of a lease
MAX_SKEW = 0.02  # of a clock's rate, either way: two differ by less than the margin
PROCESSES = 3


class Late(AssertionError):
    """An answer as of an epoch before a deletion left after that deletion had answered."""


class Rows:
    """The rows of a world, as one process reaches them."""

    def __init__(self, world: "World") -> None:
        self.world = world

    def _at_once(self, act: Callable):
        self.world.turn()
        done = act()
        self.world.turn()
        return done

    def register(self, process_id: str, lease_seconds: float) -> None:
        self._at_once(lambda: self.world.rows.setdefault(process_id, None))

    def look(self, process_id: str) -> Look | None:
        world = self.world
        return self._at_once(
            lambda: Look(world.epoch, world.rows[process_id]) if process_id in world.rows else None
        )

    def confirm(self, process_id: str, epoch: int) -> bool:
        return self._at_once(lambda: self.world.confirm(process_id, epoch))

    def others(self, process_id: str) -> list[Process]:
        rows = self.world.rows
        return self._at_once(
            lambda: [Process(id_, id_, SECONDS, rows[id_]) for id_ in rows if id_ != process_id]
        )

    def remove(self, process_id: str, *, before: int | None = None) -> None:
        def act() -> None:
            epoch = self.world.rows.get(process_id)
            if before is None or epoch is None or epoch < before:
                self.world.rows.pop(process_id, None)

        self._at_once(act)


class SimulatedProcess:
    """One API process: its lease, and greenlets that renew it, answer and delete."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.rate = 1 + world.random.uniform(-MAX_SKEW, MAX_SKEW)
        self.stopped_until = self.stopped_for = 0.0
        self.lease = Lease(Rows(world), SECONDS, clock=self.clock, pause=world.sleep)
        self.actors = [greenlet(act) for act in (self.renew, self.answer, self.answer, self.delete)]
        self.wakes = dict.fromkeys(self.actors, world.time)

    def clock(self) -> float:
        return 1000 + self.rate * self.world.time

    def stop(self, seconds: float) -> None:
        """Let nothing of it happen for so long."""
        began = max(self.world.time, self.stopped_until)
        self.stopped_until = max(began, self.world.time + seconds)
        self.stopped_for += self.stopped_until - began

    def renew(self) -> None:
        while True:
            self.lease.renew()
            self.world.sleep(SECONDS / 4)

    def answer(self) -> None:
        while True:
            epochs = range(self.world.epoch + 1)
            epoch = next((each for each in epochs if self.lease.covers(each)), None)
            self.world.turn()  # the work
            if epoch is not None:
                with self.lease.handing_over(epoch) as granted:
                    if granted:
                        self.world.note_answer(epoch)
            self.world.turn()

    def delete(self) -> None:
        world = self.world
        while True:
            world.sleep(world.random.uniform(0, 4 * SECONDS))
            with self.lease.suspended():
                world.turn()
                world.epoch += 1  # the commit, with the process's own row
                epoch = world.epoch
                world.confirm(self.lease.id, epoch)
                world.turn()
            self.lease.await_others(epoch)
            world.deleted = max(world.deleted, epoch)


class World:
    """A database of rows and a time; `deleted` is the last deletion that has answered."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.time, self.epoch, self.deleted, self.answers = 0.0, 0, 0, 0
        self.rows: dict[str, int | None] = {}
        self.processes = [SimulatedProcess(self) for _ in range(PROCESSES)]

    def confirm(self, process_id: str, epoch: int) -> bool:
        if process_id in self.rows:
            self.rows[process_id] = epoch
        return process_id in self.rows

    def note_answer(self, epoch: int) -> None:
        self.answers += 1
        if epoch < self.deleted:
            raise Late(f"as of {epoch}, after deletion {self.deleted} has answered")

    def sleep(self, seconds: float) -> None:
        """Let others act for at least so long."""
        self._wake(self.time + seconds)

    def turn(self) -> None:
        """Let others act."""
        self._wake(self.time)

    def _wake(self, time: float) -> None:
        actor = getcurrent()
        for process in self.processes:
            if actor in process.wakes:
                process.wakes[actor] = time
        self.scheduler.switch()

    def run(self, steps: int) -> None:
        """Let that many steps happen."""
        self.scheduler = getcurrent()
        for _ in range(steps):
            self.time += self.random.choice((0.0, 0.0, 0.01, 0.05))
            self._disturb()
            able = [
                actor
                for process in self.processes
                if process.stopped_until <= self.time
                for actor, wake in process.wakes.items()
                if wake <= self.time
            ]
            if able:
                self.random.choice(able).switch()

    def _disturb(self) -> None:
        chance, place = self.random.random(), self.random.randrange(PROCESSES)
        if chance < 0.02:
            self.processes[place].stop(self.random.uniform(0, 3 * SECONDS))
        elif chance < 0.022:  # killed, and another one started; its row stays
            self.processes[place] = SimulatedProcess(self)


def first_late(seeds: range, steps: int) -> int | None:
    """Return the first seed whose world has a late answer; None if none has."""
    for seed in seeds:
        try:
            World(seed).run(steps)
        except Late:
            return seed
    return None


def answers(seeds: range, steps: int) -> tuple[int, int]:
    """Run the worlds; return how many answers and how many deletions there were."""
    worlds = [World(seed) for seed in seeds]
    for world in worlds:
        world.run(steps)
    return sum(world.answers for world in worlds), sum(world.deleted for world in worlds)
