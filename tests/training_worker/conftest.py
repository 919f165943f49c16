"""A migrated store with one space and small datasets, on SQLite and on Postgres if one answers."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import tangent
from app.database.tables import Component
from app.settings import Settings
from tests.support.stores import BACKBONE, Store
from tests.support.workers import Worker
from training_worker.attempts import Attempts


@pytest.fixture(scope="session")
def opened() -> tangent.Space:
    """The space that the tests' rows are made from."""
    return tangent.open_space(BACKBONE, "head")


@pytest.fixture(params=["sqlite", "postgres"])
def store(request, tmp_path: Path, migrated: Path, opened: tangent.Space) -> Iterator[Store]:
    """A fresh store on each kind of database, whose dead workers are quickly found."""
    url = request.getfixturevalue("postgres") if request.param == "postgres" else None
    shutil.copytree(migrated, tmp_path / "data")
    settings = Settings(
        data_dir=tmp_path / "data",
        database_url=url,
        backbone=BACKBONE,
        scope="head",
        device="cpu",
        threads=1,
        worker_heartbeat_seconds=0.5,
        worker_dead_seconds=3.0,
    )
    store = Store(settings, opened)
    yield store
    store.close()


@pytest.fixture
def start(store) -> Iterator[Callable[..., Worker]]:
    """Start workers on the store, and kill them afterwards."""
    started: list[Worker] = []

    def start(**settings) -> Worker:
        started.append(Worker(store, **settings))
        return started[-1]

    yield start
    for worker in started:
        worker.process.kill()
        worker.process.wait()


@pytest.fixture
def begin(store):
    """Start an attempt at the component, as a new worker would; return worker and attempt."""
    made: list[Attempts] = []

    def begin(component_id: str) -> tuple[Attempts, Component | None]:
        made.append(Attempts(store.settings, f"worker-{len(made)}"))
        return made[-1], made[-1]._begin(component_id, None, None)

    yield begin
    for attempts in made:
        attempts.engine.dispose()
