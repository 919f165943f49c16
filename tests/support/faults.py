"""Faults of a simulated process: it dies at an effect, one fails, or a commit's answer is lost.

    with faults.injected(folder) as plan:
        plan.arm(3, Fault.DIES_BEFORE)     at the third effect from now
        …                                  a request
        if plan.struck: …                  its answer proves nothing
        plan.clear()                       the process is replaced

An *effect* is a step that lasts: a commit, or a file below the folder that is moved, removed or
flushed. From its death on, a process has no effect at all: whatever its handlers try then, nothing
reaches the disk or the database, as after kill -9.
"""

import errno
import io
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from threading import Thread, current_thread
from typing import Any
from unittest.mock import patch

import psycopg
from sqlalchemy import Engine, event
from sqlalchemy.engine.default import DefaultDialect

MOVING = ("replace", "rename", "unlink", "remove", "rmdir", "link")  # of os, by path
WRITING = set("wxa+")
OF_THEIR_OWN = ("lease", "passes ", "beat ", "space-probes")  # beginnings of threads' names


class Fault(Enum):
    """The kinds of fault at the chosen effect."""

    DIES_BEFORE = "the process dies before it"
    DIES_AFTER = "the process dies after it"
    FAILS = "it fails: the disk is full, or the database gives up"
    CUT_BEFORE = "the line to Postgres breaks before the COMMIT reaches it"
    CUT_AFTER = "the line to Postgres breaks before it has answered the COMMIT"


CUTS = (Fault.CUT_BEFORE, Fault.CUT_AFTER)


class Dead(Exception):
    """The process has died; nobody hears this."""


class Plan:
    """At most one fault to come, and whether it has struck."""

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder)
        self.spared: set[Thread] = set()  # of a process that lives on whatever strikes the other
        self.seen: list[str] = []  # effects since the plan was armed
        self.clear()

    def arm(self, effects: int, fault: Fault) -> None:
        """Let the fault strike at the effect of this number, from 1 on."""
        self.clear()
        self._left, self.fault = effects, fault

    def clear(self) -> None:
        """Forget the fault: a new process begins."""
        self._left, self.fault = 0, None
        self.dead = self.struck = False
        self.seen = []

    def around(
        self,
        name: str,
        act: Callable[[], Any],
        failure: Callable[[], Exception],
        cut: Callable[[], Exception] | None = None,
    ) -> Any:
        """Carry the effect out, unless the fault strikes or the process is dead.

        A fault that needs a line to `cut` waits for an effect that has one.
        """
        if self.stops_this_thread():
            raise Dead(name)
        if current_thread().name.startswith(OF_THEIR_OWN):  # they act at their times, in no request
            return act()
        self.seen.append(name)
        fault = None if self.fault in CUTS and cut is None else self._strikes()
        if fault is Fault.DIES_BEFORE:
            self._die(name)
        if fault is Fault.FAILS:
            raise failure()
        if fault is Fault.CUT_BEFORE and cut is not None:
            raise cut()
        done = act()
        if fault is Fault.DIES_AFTER:
            self._die(name)
        if fault is Fault.CUT_AFTER and cut is not None:
            raise cut()
        return done

    def _strikes(self) -> Fault | None:
        self._left -= 1
        if self._left or self.fault is None:
            return None
        self.struck = True
        return self.fault

    def _die(self, name: str) -> None:
        self.dead = True
        raise Dead(name)

    def stops_this_thread(self) -> bool:
        """Return whether the thread that asks belongs to a process that has died."""
        return self.dead and current_thread() not in self.spared

    def holds(self, path: Any) -> bool:
        """Return whether the path lies below the folder; one relative to a descriptor does not."""
        try:
            return os.path.abspath(os.fspath(path)).startswith(self.folder)
        except TypeError:
            return False


@contextmanager
def injected(folder: Path) -> Iterator[Plan]:
    """Watch every effect of this process while the block runs."""
    plan = Plan(folder)
    listeners = [
        (Engine, "before_cursor_execute", lambda *_: _stop_if_dead(plan)),
    ]
    patches = [patch.object(os, name, _moving(plan, name, getattr(os, name))) for name in MOVING]
    patches += [patch.object(os, "fsync", _flushing(plan, os.fsync))]
    patches += [patch.object(io, "open", _opening(plan, io.open))]
    committing = _committing(plan, DefaultDialect.do_commit)
    patches += [patch.object(DefaultDialect, "do_commit", committing)]
    for each in patches:
        each.start()
    for target, name, listener in listeners:
        event.listen(target, name, listener)
    try:
        yield plan
    finally:
        for target, name, listener in listeners:
            event.remove(target, name, listener)
        for each in patches:
            each.stop()


def _committing(plan: Plan, original: Callable[..., None]) -> Callable[..., None]:
    def commit(dialect: Any, connection: Any) -> None:
        is_line = dialect.name == "postgresql"

        def cut() -> Exception:
            connection.driver_connection.close()
            return psycopg.OperationalError("server closed the connection unexpectedly")

        plan.around(
            "commit",
            lambda: original(dialect, connection),
            _server_full if is_line else _locked,
            cut if is_line else None,
        )

    return commit


def _moving(plan: Plan, name: str, original: Callable[..., Any]) -> Callable[..., Any]:
    def act(path: Any, *more: Any, **options: Any) -> Any:
        if not plan.holds(path):
            return original(path, *more, **options)
        return plan.around(name, lambda: original(path, *more, **options), _full)

    return act


def _flushing(plan: Plan, original: Callable[[int], None]) -> Callable[[int], None]:
    def act(descriptor: int) -> None:
        if plan.holds(os.readlink(f"/proc/self/fd/{descriptor}")):
            plan.around("fsync", lambda: original(descriptor), _full)
        else:
            original(descriptor)

    return act


def _opening(plan: Plan, original: Callable[..., Any]) -> Callable[..., Any]:
    def act(file: Any, mode: str = "r", *more: Any, **options: Any) -> Any:
        if plan.stops_this_thread() and WRITING & set(mode) and plan.holds(file):
            raise Dead("open")
        return original(file, mode, *more, **options)

    return act


def _stop_if_dead(plan: Plan) -> None:
    if plan.stops_this_thread():
        raise Dead("statement")


def _full() -> Exception:
    return OSError(errno.ENOSPC, "No space left on device")


def _locked() -> Exception:
    error = sqlite3.OperationalError("database is locked")
    error.sqlite_errorcode, error.sqlite_errorname = sqlite3.SQLITE_BUSY, "SQLITE_BUSY"
    return error


def _server_full() -> Exception:
    return psycopg.errors.DiskFull("could not extend file: No space left on device")
