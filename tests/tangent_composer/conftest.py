"""Services for the client and the command line, and the wheel that users install."""

import shutil
import socket
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import tangent
from app.settings import Settings
from tangent_composer import Client
from tests.support.service import KEY_FREE, Service, running
from tests.support.trainings import Trainings
from tests.support.wheel import built

GIVEN = KEY_FREE | {"device": "cpu", "threads": 1, "scope": "head"}


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's wheel."""
    return built(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(autouse=True)
def no_login(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the variables nor the login of whoever runs the tests."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    for name in ("TANGENT_URL", "TANGENT_API_KEY"):
        monkeypatch.delenv(name, raising=False)


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


@pytest.fixture(scope="module")
def service(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, migrated: Path
) -> Iterator[Service]:
    """One service for a whole file of tests, with the settings that its SETTINGS add."""
    folder = tmp_path_factory.mktemp("service") / "data"
    shutil.copytree(migrated, folder)
    more: dict[str, Any] = getattr(request.module, "SETTINGS", {})
    with running(Settings(**GIVEN | {"data_dir": folder} | more)) as started:
        yield started


@pytest.fixture
def client(service: Service) -> Iterator[Client]:
    """A blocking client of the service."""
    with Client(service.url, api_key=service.settings.api_key, progress=False) as made:
        yield made


@pytest.fixture
def paused(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses of the blocking client, which are noted instead of made."""
    pauses: list[float] = []
    monkeypatch.setattr("tangent_composer.client.blocking.transport.pause", pauses.append)
    return pauses


@pytest.fixture
def free_port() -> int:
    """A port on which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]
