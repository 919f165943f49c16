"""What an engine process sends and nobody can read ends its call, not the connection for good."""

import time

import pytest

from app.errors import NotReady
from app.inference.remote import connection
from app.inference.remote.remote_engine import RemoteEngine
from app.inference.remote.wire import EngineFault
from app.settings import Settings


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    folder = tmp_path_factory.mktemp("engine")
    found = RemoteEngine(Settings(data_dir=folder, engine="process", device="cpu", threads=1))
    yield found
    found.close()


def environment_again(engine: RemoteEngine) -> str:
    for _ in range(600):
        try:
            return engine.environment()
        except NotReady as error:
            assert error.code == "engine_restarting"
            time.sleep(0.1)
    raise AssertionError("nobody has connected again")


def test_an_answer_that_cannot_be_read_is_a_fault_of_its_call_alone(engine, monkeypatch):
    environment = engine.environment()

    def unreadable(frames):
        raise ValueError("extra bytes")

    monkeypatch.setattr(connection, "unpacked", unreadable)
    with pytest.raises(EngineFault, match="answer cannot be read: extra bytes"):
        engine.environment()
    monkeypatch.undo()
    assert engine.environment() == environment


def test_a_connection_that_breaks_is_made_again(engine, monkeypatch, caplog):
    environment = engine.environment()

    def broken(sent):
        monkeypatch.undo()
        raise ValueError("no bundle")

    monkeypatch.setattr(connection, "unbundled", broken)
    with pytest.raises(NotReady, match="engine process has ended and is started again"):
        engine.environment()
    assert environment_again(engine) == environment
    assert "connection to the engine broke" in caplog.text
