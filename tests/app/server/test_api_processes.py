"""Several API processes of one service: one address, one engine, one account of what they do."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

from app.cli import api_process
from app.cli.listeners import open_beside, open_listener
from app.server import api_processes
from app.settings import BadSettings, Settings
from tests.support.command import environment
from tests.support.images import image
from tests.support.process_trees import children, environ_of, is_running
from tests.support.service import KEY_FREE, Service, plain_client, running
from tests.support.serving_processes import Serving, serving
from tests.support.workers import until

NUMBER = 2
ASKED = 24  # connections, of which each process gets some but once in eight million times


class Answered(NamedTuple):
    """A running service, and the numbers of its processes."""

    serving: Serving

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.serving.port}"

    @property
    def processes(self) -> list[int]:
        return children(self.serving.process.pid, api_processes.MODULE)

    @property
    def engine(self) -> list[int]:
        return children(self.serving.process.pid, "app.inference.remote.server")

    def get(self, path: str) -> httpx.Response:
        """The answer on a connection of its own."""
        with plain_client(self.url) as client:
            return client.get(path)

    def predict(self) -> httpx.Response:
        """A prediction on a connection of its own."""
        with plain_client(self.url) as client:
            files = [("images", ("cat.png", image("cat", 90)))]
            return client.post("/v1/predictions", files=files)

    def counted(self, route: str) -> float:
        """The requests of a route that /metrics has counted."""
        line = rf'tangent_http_requests_total{{.*route="{route}".*}} ([\d.]+)'
        return sum(map(float, re.findall(line, self.get("/metrics").text)))


@pytest.fixture(scope="module")
def first(tmp_path_factory, migrated: Path) -> Iterator[Service]:
    """A service with a component, in the test's own process."""
    folder = tmp_path_factory.mktemp("first") / "data"
    shutil.copytree(migrated, folder)
    given = {"data_dir": folder, "scope": "head", "device": "cpu", "threads": 1}
    with running(Settings(**KEY_FREE | given | {"lease_seconds": 1.0})) as service:
        service.component({"cat": 2, "dog": 2})
        yield service


@contextmanager
def beside(first: Service, folder: Path) -> Iterator[Answered]:
    """A service of several processes, on what the first one has made."""
    settings = first.settings.model_copy(update={"api_processes": NUMBER, "engine": "process"})
    with serving(settings, folder) as found:
        yield Answered(found)


@pytest.fixture(scope="module")
def several(first: Service, tmp_path_factory) -> Iterator[Answered]:
    with beside(first, tmp_path_factory.mktemp("several")) as found:
        yield found


@pytest.fixture
def ending(first: Service, tmp_path: Path) -> Iterator[Answered]:
    """One that the test ends."""
    with beside(first, tmp_path) as found:
        yield found


def test_whichever_process_is_asked_the_answer_and_the_account_are_the_same(several: Answered):
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: several.predict(), range(ASKED)))
    assert {answer.status_code for answer in answers} == {200}
    ranked = [answer.json()["results"][0]["predictions"] for answer in answers]
    assert len({tuple(each["label"] for each in found) for found in ranked}) == 1
    assert len(several.processes) == NUMBER
    assert len(several.engine) == 1
    assert {several.counted("/v1/predictions") for _ in range(ASKED)} == {ASKED}
    assert 'tangent_build_info{version="' in several.get("/metrics").text
    assert "tangent_http_requests_in_progress 1.0" in several.get("/metrics").text


def test_each_process_stays_below_150_mebibytes(several: Answered):
    assert {several.predict().status_code for _ in range(ASKED)} == {200}
    for pid in several.processes:
        status = Path(f"/proc/{pid}/status").read_text()
        assert int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) < 150 * 2**10


def test_a_process_that_was_killed_is_started_again_and_what_it_counted_stays(several: Answered):
    for _ in range(ASKED):
        assert several.get("/v1/spaces").status_code == 200
    killed, other = several.processes
    os.kill(killed, signal.SIGKILL)
    until(lambda: len(several.processes) == NUMBER and killed not in several.processes)
    assert other in several.processes
    for _ in range(ASKED):  # the other answers until the new one does
        assert several.predict().status_code == 200
    until(lambda: f"tangent_api_processes {float(NUMBER)}" in several.get("/metrics").text)
    assert several.counted("/v1/spaces") == ASKED
    assert "tangent_http_requests_in_progress 1.0" in several.get("/metrics").text


def test_an_engine_that_was_killed_answers_all_processes_again(several: Answered):
    several.predict()
    [killed] = several.engine
    os.kill(killed, signal.SIGKILL)
    statuses = {several.predict().status_code for _ in range(ASKED)}
    assert statuses <= {200, 503}
    until(lambda: several.predict().status_code == 200)
    until(lambda: {several.predict().status_code for _ in range(ASKED)} == {200})
    assert several.engine != [killed]
    assert len(several.processes) == NUMBER


def test_no_late_answer_comes_from_a_process_that_was_stopped(first: Service, several: Answered):
    part = first.component({"cow": 2})
    ids: list[tuple[float, set[str]]] = []
    over = threading.Event()

    def ask() -> None:
        while not over.is_set():
            answer = several.predict()
            if answer.status_code == 200:
                used = {each["id"] for each in answer.json()["components"]}
                ids.append((time.monotonic(), used))

    with ThreadPoolExecutor(4) as pool:
        asking = [pool.submit(ask) for _ in range(4)]
        until(lambda: len(ids) > ASKED and part in ids[-1][1])
        stopped = several.processes[0]
        os.kill(stopped, signal.SIGSTOP)
        answer = first.client.delete(f"/v1/components/{part}")
        deleted = time.monotonic()
        os.kill(stopped, signal.SIGCONT)
        assert answer.status_code == 200, answer.text
        assert f"/{stopped}" in answer.headers["Unconfirmed-Processes"]
        seen = len(ids)
        until(lambda: len(ids) > seen + ASKED)
        over.set()
        for each in asking:
            each.result()
    assert [used for when, used in ids if when > deleted and part in used] == []


def test_the_signal_to_end_ends_all_within_their_time(ending: Answered):
    pids = [*ending.processes, *ending.engine]
    ending.serving.process.terminate()
    assert ending.serving.process.wait(60) == 0
    assert not any(map(is_running, pids))


def test_all_end_with_the_process_that_started_them(ending: Answered):
    pids = [*ending.processes, *ending.engine]
    folder = Path(environ_of(ending.processes[0])["PROMETHEUS_MULTIPROC_DIR"])
    assert folder.is_dir()
    ending.serving.process.kill()
    until(lambda: not any(map(is_running, pids)))
    assert not folder.exists()


def test_the_processes_are_told_why_no_worker_runs(tmp_path: Path):
    file = tmp_path / api_processes.WORKER_FAULT
    assert api_process.read_fault(file) is None
    api_processes.write_fault(file, "the worker ended with status 3")
    assert api_process.read_fault(file) == "the worker ended with status 3"
    api_processes.write_fault(file, None)
    assert api_process.read_fault(file) is None


def test_a_service_ends_whose_first_process_cannot_answer(tmp_path: Path):
    """The `main` of the module `site` does nothing that is seen here, and ends."""
    code = (
        "import sys; from app.server import api_processes; from app.settings import read; "
        "api_processes.MODULE = 'site'; nothing = lambda: None; "
        "print(api_processes.run(read(api_processes=2), {}, nothing, nothing, nothing))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code],
        env=environment(data_dir=str(tmp_path), tmpdir=str(tmp_path)),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert answer.stdout == "False\n", answer.stderr
    assert "an API process ended with status 0 before it answered" in answer.stderr


def test_a_process_that_does_not_answer_in_time_is_ended(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(api_processes, "MODULE", "tests.support.silent_process")
    monkeypatch.setattr(api_processes, "START_SECONDS", 1.0)
    started = api_processes.ApiProcess({}, tmp_path)
    started.keep()
    assert started.has_failed and not started.has_answered


@pytest.mark.parametrize("number", [1, NUMBER])
def test_an_address_that_another_service_has_is_refused(number: int):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(BadSettings, match=f"cannot listen on 127.0.0.1:{port}"):
            open_listener(of(number, port))


def test_a_second_service_does_not_share_the_address_of_processes_that_answer():
    with open_listener(of(NUMBER)) as kept:
        port = kept.getsockname()[1]
        with open_beside(kept.family, kept.getsockname()) as beside:
            beside.listen()
            with pytest.raises(BadSettings, match="Address already in use"):
                open_listener(of(NUMBER, port))


def test_the_kept_address_takes_no_connection_and_each_process_some():
    with open_listener(of(NUMBER)) as kept:
        address = kept.getsockname()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address)
        with open_beside(kept.family, address) as one, open_beside(kept.family, address) as other:
            one.listen(64)
            other.listen(64)
            clients = [socket.create_connection(address) for _ in range(ASKED)]
            assert accepted(one) + accepted(other) == ASKED
            for client in clients:
                client.close()


def of(number: int, port: int = 0) -> Settings:
    given = {"host": "127.0.0.1", "port": port, "api_processes": number, "engine": "process"}
    return Settings(**KEY_FREE | given)


def accepted(listener: socket.socket) -> int:
    """The number of connections that wait; both sockets have some."""
    listener.setblocking(False)
    number = 0
    with suppress(BlockingIOError):
        while True:
            listener.accept()[0].close()
            number += 1
    assert number > 0
    return number


def test_the_processes_share_the_bounds_of_the_service():
    settings = Settings(
        max_connections=1001, max_event_streams=3, api_processes=2, engine="process"
    )
    assert settings.share.max_connections == 501
    assert settings.share.max_event_streams == 2
    assert settings.share.max_waiting_images == settings.max_waiting_images  # of the one engine
    assert settings.max_connections == 1001
    alone = Settings()
    assert alone.share == alone


def test_an_engine_in_the_services_own_process_cannot_be_shared():
    with pytest.raises(ValueError, match="TANGENT_API_PROCESSES is 2 and TANGENT_ENGINE is inline"):
        Settings(**KEY_FREE | {"api_processes": 2, "engine": "inline"})
