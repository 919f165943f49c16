"""Workers as real processes on a store, and what they are to bring about."""

import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import tangent
from app.database.sessions import transaction
from app.database.tables import Component
from app.store import components

PATIENCE = 120  # seconds, for what takes a few on an idle machine
LONG = {"solver": "adam", "batch_size": 1, "epochs": 10_000}  # minutes: time enough to be struck


def until(condition: Callable[[], object], seconds: float = PATIENCE) -> float:
    """Wait for the condition; return the seconds that passed."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds, f"not within {seconds} s"
        time.sleep(0.05)
    return time.monotonic() - began


def status(store, component_id: str, *wanted: str) -> bool:
    return store.component(component_id).status in wanted


def files(store) -> list[str]:
    """Every component file there is."""
    return list(store.blobs.keys("components"))


def assert_published_once(store, component_id: str, *, attempts: int) -> None:
    """Check that the row is ready, its file is the only one, and one event says so."""
    row = store.component(component_id)
    assert row.status == "ready", row.error
    assert row.attempts == attempts
    assert [key for key in files(store) if component_id in key] == [row.blob_key]
    until(lambda: not store.blobs.scratch_of(component_id))  # goes after the row is ready
    data = store.blobs.path(row.blob_key).read_bytes()
    assert (hashlib.sha256(data).hexdigest(), len(data)) == (row.sha256, row.bytes)
    with store.sessions() as session:
        events = components.events(session, component_id, after=0, limit=10_000)
    assert [event.data.get("status") for event in events].count("ready") == 1


def in_training(store, component_id: str, attempt: int = 1) -> bool:
    """Return whether the solver of this attempt has reported a step."""
    with store.sessions() as session:
        events = components.events(session, component_id, after=0, limit=10_000)
    starts = [n for n, event in enumerate(events) if event.data.get("attempt") == attempt]
    later = events[starts[0] :] if starts else []
    return any(event.data.get("phase") == "solve" for event in later)


def shorten(store, component_id: str) -> None:
    """Make later attempts short; the running attempt goes on as it began."""
    quick = tangent.Hyperparameters.resolve("head", {}).as_dict()
    with transaction(store.sessions) as session:
        session.get_one(Component, component_id).hyperparameters = quick


def outcome(store, content: str) -> dict:
    """The trainer's final message on a file of this content."""
    file = store.blobs.scratch_path("cmp_file")
    file.write_text(content)
    facts = {"sha256": content, "bytes": len(content), "labels": {"a": 1}, "metrics": {}}
    return {"type": "done", "file": str(file), **facts}


class Worker:
    """A worker process on a store."""

    def __init__(self, store, **settings) -> None:
        known = store.settings.model_dump(exclude_none=True, mode="json") | settings
        variables = {f"TANGENT_{name.upper()}": str(value) for name, value in known.items()}
        command = [sys.executable, "-m", "training_worker"]
        self.process = subprocess.Popen(command, env=os.environ | variables)

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def trainer(self) -> int | None:
        """The process id of its trainer."""
        children = Path(f"/proc/{self.process.pid}/task").glob("*/children")
        found = " ".join(path.read_text() for path in children).split()
        return int(found[0]) if found else None
