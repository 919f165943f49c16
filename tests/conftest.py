"""Databases for every test: migrated once on each kind, then copied."""

import gc
import os
import sys
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from app.database import migrate
from app.settings import Settings
from tests.support.postgres import database
from tests.support.statement_cache import statements_compiled_once

# Processes that tests start in folders of their own find the packages too.
ROOT = str(Path(__file__).resolve().parent.parent)
if ROOT not in os.environ.get("PYTHONPATH", "").split(os.pathsep):
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [ROOT, os.environ.get("PYTHONPATH")]))
# Before torch is loaded: trainings record their number of threads, and tests share trainings.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Most tests ask for what the service answers, not for where it computes: one process starts sooner.
os.environ.setdefault("TANGENT_ENGINE", "inline")
# Compiled modules are kept, whatever the environment says: hundreds of processes load them.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


# Folders and files whose tests start processes, or go through every effect of every request.
LONGEST = {
    *("browser", "documentation", "training_worker", "test_deaths.py", "test_demo.py"),
    *("test_generated_clients.py", "test_simulation.py", "test_tour.py"),
}


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Search for garbage neither while the tests are collected nor in what lives as long as they.

    These are a million objects: going through them took a tenth of the time of the tests.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.set_threshold(10_000, 10, 10)
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first: the last file decides when the last process ends."""
    items.sort(key=lambda item: LONGEST.isdisjoint(item.nodeid.partition("::")[0].split("/")))


@pytest.hookimpl(tryfirst=True)
def pytest_fixture_setup() -> None:
    seed_torch()


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call() -> None:
    seed_torch()


def seed_torch() -> None:
    """Give every fixture and every test the same random numbers, whichever tests ran before it."""
    if torch := sys.modules.get("torch"):
        torch.manual_seed(0)


@pytest.fixture(autouse=True)
def environment_as_found() -> Iterator[None]:
    """Undo what the code under test sets in the environment: commands set paths for a process."""
    found = dict(os.environ)
    yield
    for name in os.environ.keys() - found.keys():
        del os.environ[name]
    os.environ.update(found)


@pytest.fixture(scope="session", autouse=True)
def compiled_once() -> Iterator[None]:
    """The services of all tests say the same statements, each on engines of its own."""
    with statements_compiled_once():
        yield


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with an empty SQLite database at the present schema; copied, never used."""
    folder = tmp_path_factory.mktemp("migrated")
    migrate.upgrade(Settings(data_dir=folder, database_url=None, api_key=None))
    return folder


@pytest.fixture
def empty_postgres() -> Iterator[str]:
    """The URL of a new Postgres database without a table."""
    with database() as url:
        yield url


@pytest.fixture(scope="session")
def template() -> Iterator[str]:
    """The name of an empty Postgres database at the present schema; copied, never used."""
    with database() as url:
        migrate.upgrade(Settings(database_url=url, api_key=None))
        yield url.rpartition("/")[2]


@pytest.fixture
def postgres(template: str) -> Iterator[str]:
    """The URL of a new Postgres database at the present schema."""
    with database(template=template) as url:
        yield url
