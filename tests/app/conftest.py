"""The service over real HTTP: uvicorn in a thread, on a data folder of the test's own."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

import tangent
from app.settings import Settings
from tests.support.service import KEY_FREE, Service, running
from tests.support.trainings import Trainings
from tests.support.two_components import TwoComponents

GIVEN = KEY_FREE | {"device": "cpu", "threads": 1}


@pytest.fixture(scope="session", autouse=True)
def opened_once() -> Iterator[None]:
    """A space never changes and takes a second to open: the services of all tests share them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("app.inference.engine.engine.open_space", cache(tangent.open_space))
        yield


@pytest.fixture(scope="session", autouse=True)
def trained_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Equal trainings give equal bytes: the services of all tests share their files."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Service, "trainings", Trainings(tmp_path_factory.mktemp("trained")))
        yield


@pytest.fixture(scope="session")
def two_of_each(tmp_path_factory: pytest.TempPathFactory) -> Trainings:
    """Trainings of which equal ones are made twice."""
    return Trainings(tmp_path_factory.mktemp("trained-twice"), times=2)


@pytest.fixture(scope="module")
def trained_twice(two_of_each: Trainings) -> Iterator[None]:
    """Two services that train the same train by themselves: for files that compare trainings."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Service, "trainings", two_of_each)
        yield


@pytest.fixture(scope="module")
def default_scope(request: pytest.FixtureRequest) -> dict[str, str]:
    """The scope of the default space: the file's SCOPE, or else the one that the service has.

    Files whose subject is not the numbers take "head", where composing takes a tenth of the time.
    """
    return {"scope": request.module.SCOPE} if hasattr(request.module, "SCOPE") else {}


Serve = Callable[..., Service]


@pytest.fixture
def serve(tmp_path: Path, migrated: Path, default_scope: dict[str, str]) -> Iterator[Serve]:
    """Starts services with the given settings, each on a new data folder or the given one."""
    with ExitStack() as stack:

        def start(**settings: Any) -> Service:
            folder = tmp_path / f"data-{uuid4().hex[:8]}"
            given = GIVEN | default_scope | {"data_dir": folder} | settings
            if "data_dir" not in settings:
                shutil.copytree(migrated, folder)
            return stack.enter_context(running(Settings(**given)))

        yield start


@pytest.fixture
def service(serve: Serve) -> Service:
    """A service with nothing in it but the default space."""
    return serve()


@pytest.fixture(params=["sqlite", "postgres"])
def either(request: pytest.FixtureRequest, serve: Serve) -> Service:
    """A service with nothing in it but the default space, on each kind of database."""
    if request.param == "sqlite":
        return serve()
    return serve(database_url=request.getfixturevalue("postgres"))


@pytest.fixture(scope="module")
def shared(
    tmp_path_factory: pytest.TempPathFactory, migrated: Path, default_scope: dict[str, str]
) -> Iterator[Service]:
    """One service for a whole file of tests that only read, or do not mind each other's traces."""
    folder = tmp_path_factory.mktemp("shared") / "data"
    shutil.copytree(migrated, folder)
    with running(Settings(**GIVEN | default_scope | {"data_dir": folder})) as started:
        yield started


@pytest.fixture(scope="module")
def two(shared: Service) -> TwoComponents:
    """Two ready components in the default space of the shared service, one in another."""
    body = {"name": "elsewhere", "backbone": "resnet_micro_32", "scope": "head"}
    assert shared.client.post("/v1/spaces", json=body).status_code == 201
    return TwoComponents(
        shared,
        shared.component({"cat": 6, "dog": 6}),
        shared.component({"cow": 6, "hen": 6}),
        shared.component({"cat": 4, "owl": 4}, space="elsewhere"),
    )
