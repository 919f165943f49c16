"""Streams of events end in good order with the service: it ends at once, and clients resume."""

import shutil
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from app.settings import Settings
from tests.support.service import KEY_FREE, running
from tests.support.serving_processes import serving

STREAM = {"Accept": "text/event-stream"}
STREAMS = 12  # of which each of two processes gets some but once in two thousand times


class Queued:
    """The settings of a stopped service, and a component that waits in it for ever."""

    def __init__(self, folder: Path) -> None:
        given = {"data_dir": folder, "scope": "head", "device": "cpu", "threads": 1}
        self.settings = Settings(**KEY_FREE | given)
        with running(self.settings) as service:
            self.component_id = service.queued(service.dataset({"cat": 2}))


@pytest.fixture(scope="module")
def queued(tmp_path_factory: pytest.TempPathFactory, migrated: Path) -> Iterator[Queued]:
    folder = tmp_path_factory.mktemp("queued") / "data"
    shutil.copytree(migrated, folder)
    return Queued(folder)


@pytest.mark.parametrize("processes", [1, 2])
def test_a_service_with_open_streams_ends_them_and_itself(
    queued: Queued, tmp_path: Path, processes: int, capfd: pytest.CaptureFixture
):
    change = {"api_processes": processes, "engine": "process"}
    settings = queued.settings.model_copy(update=change)
    with serving(settings, tmp_path) as found, ExitStack() as stack:
        url = f"http://127.0.0.1:{found.port}/v1/components/{queued.component_id}/events"
        streams = [
            stack.enter_context(
                httpx.stream("GET", url, headers=STREAM, timeout=120, trust_env=False)
            )
            for _ in range(STREAMS)
        ]
        lines = [stream.iter_lines() for stream in streams]
        for each in lines:
            assert next(each).startswith(("id:", "event:", "data:"))
        found.process.send_signal(signal.SIGTERM)
        with ThreadPoolExecutor(STREAMS) as pool:
            rests = list(pool.map(list, lines))  # a stream that is cut is an error here
        assert found.process.wait(60) == 0
    assert all("queued" in "".join(rest) for rest in rests)
    said = capfd.readouterr().err
    assert "ERROR" not in said and "Traceback" not in said and "ending although" not in said
