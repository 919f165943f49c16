"""The console script as a user meets it: real processes, real signals, real HTTP."""

import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryFile

import httpx
import pytest

from app.database import migrate
from app.settings import BadSettings, read
from tests.support.command import PATIENCE, environment, tangent

ADDRESS = re.compile(r"(http://127\.0\.0\.1:\d+)/$")


class Service:
    """`tangent serve` on a free port, answering."""

    def __init__(self, folder: Path, *arguments: str, **variables: str) -> None:
        command = [sys.executable, "-m", "app.cli", "serve", "--port", "0"]
        command += ["--data-dir", str(folder / "data"), *arguments]
        self.log = TemporaryFile("w+")  # noqa: SIM115  closed with the process
        self.process = subprocess.Popen(
            command,
            env=environment(**variables),
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
        )
        line = self.process.stdout.readline()
        found = ADDRESS.search(line)
        assert found, line + self.logged()
        self.address = found[1]

    def logged(self) -> str:
        """The log of the process so far."""
        self.log.seek(0)
        return self.log.read()

    def worker(self) -> int | None:
        """The process id of its embedded worker."""
        children = Path(f"/proc/{self.process.pid}/task").glob("*/children")
        for pid in " ".join(path.read_text() for path in children).split():
            if b"worker" in Path(f"/proc/{pid}/cmdline").read_bytes():
                return int(pid)
        return None


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Service]]:
    """Starts services; they are killed afterwards."""
    started: list[Service] = []

    def serve(*arguments: str, **variables: str) -> Service:
        started.append(Service(tmp_path, *arguments, **variables))
        return started[-1]

    yield serve
    for service in started:
        service.process.kill()
        service.process.wait()
        service.process.stdout.close()
        service.log.close()


def until(condition: Callable[[], object], seconds: float = PATIENCE) -> None:
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds, f"not within {seconds} s"
        time.sleep(0.05)


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_a_fresh_service_answers_on_the_printed_port_and_ends_cleanly(serve, tmp_path, stop):
    service = serve()
    assert httpx.get(f"{service.address}/docs", timeout=30).status_code == 200
    spaces = httpx.get(f"{service.address}/v1/spaces", timeout=30).json()
    assert [space["name"] for space in spaces["data"]] == ["default"]
    until(service.worker)
    worker = service.worker()
    service.process.send_signal(stop)
    assert service.process.wait(30) == 0
    assert gone(worker)
    assert service.process.stdout.read() == ""  # one line was all
    assert [path.name for path in tmp_path.iterdir()] == ["data"]
    shutil.copy(tmp_path / "data" / "tangent.db", tmp_path)  # without its log
    with closing(sqlite3.connect(tmp_path / "tangent.db")) as alone:
        assert alone.execute("SELECT name FROM space").fetchall() == [("default",)]


def test_the_worker_is_replaced_when_it_dies_and_dies_when_the_api_is_killed(serve):
    service = serve()
    until(service.worker)
    first = service.worker()
    os.kill(first, signal.SIGKILL)
    until(lambda: service.worker() not in (None, first))
    second = service.worker()
    service.process.kill()
    service.process.wait()
    until(lambda: gone(second), 30)


def test_without_a_worker_the_api_runs_alone(serve):
    service = serve("--no-worker")
    assert httpx.get(f"{service.address}/livez", timeout=30).status_code == 200
    assert service.worker() is None


def test_the_version_is_that_of_the_installed_project():
    done = tangent("--version")
    assert (done.returncode, done.stdout) == (0, f"tangent {version('tangent-composer')}\n")


def test_migrate_may_be_run_again(tmp_path):
    for _ in range(2):
        done = tangent("migrate", "--data-dir", tmp_path / "data")
        assert (done.returncode, done.stdout.strip()) == (
            0,
            "the database schema is up to date",
        )
    assert (tmp_path / "data" / "tangent.db").is_file()


def test_a_database_of_an_older_version_is_not_served(tmp_path):
    assert tangent("migrate", "--data-dir", tmp_path / "data").returncode == 0
    older = next(each for each in migrate.revisions() if each != migrate.newest())
    with sqlite3.connect(tmp_path / "data" / "tangent.db") as database:
        database.execute("UPDATE alembic_version SET version_num = ?", [older])
    database.close()
    for command in ("serve", "worker"):
        done = tangent(command, "--data-dir", tmp_path / "data")
        assert done.returncode == 2
        assert "run `tangent migrate`" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "variables", "sentence"),
    [
        (
            ("--host", "0.0.0.0"),
            {},
            "host 0.0.0.0 is reachable from other machines: set TANGENT_API_KEY",
        ),
        (("--port", "70000"), {}, "--port is 70000: Input should be less than or equal to 65535"),
        (
            (),
            {"max_labels": "many"},
            "TANGENT_MAX_LABELS is 'many': Input should be a valid integer",
        ),
        (
            (),
            {"api_key": "short"},
            "TANGENT_API_KEY is ***: String should have at least 8 characters",
        ),
        (
            ("--data-dir", "/dev/null/data"),
            {},
            "the data folder cannot be used, see TANGENT_DATA_DIR",
        ),
        ((), {"backbone": "resnet_mikro_32"}, "no backbone is called 'resnet_mikro_32'"),
        ((), {"database_url": "postgresql://127.0.0.1:1/none"}, "the database cannot be used"),
        ((), {"database_url": "postgresql://127.0.0.1:1/none?x=1"}, "the database cannot be used"),
        ((), {"device": "gpu"}, "TANGENT_DEVICE is 'gpu': torch cannot compute on a device 'gpu'"),
        ((), {"host": "nowhere.invalid", "api_key": "k" * 20}, "choose another --host"),
        ((), {"device": "meta"}, "TANGENT_DEVICE is 'meta': torch cannot compute"),
        (
            (),
            {"receipt_key_file": "/none.pem"},
            "TANGENT_RECEIPT_KEY_FILE is '/none.pem': it cannot be read: No such file",
        ),
    ],
)
def test_settings_that_cannot_be_used_are_told_in_a_sentence(
    tmp_path, arguments, variables, sentence
):
    named = arguments if "--data-dir" in arguments else ("--data-dir", tmp_path, *arguments)
    done = tangent("serve", "--no-worker", *named, **({"port": "0"} | variables))
    assert done.returncode == 2
    assert done.stderr.startswith("tangent: ")
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("nonsense://u:secret@h/x", "a database of the kind nonsense, and this service uses Post"),
        ("mysql://u:secret@h/x", "a database of the kind mysql, and this service uses Postgres"),
        ("postgresql+psycopg2://u:secret@h/x", "driver is psycopg2, but this service uses psycopg"),
        ("postgresql+asyncpg://u:secret@h/x", "driver is asyncpg, but this service uses psycopg 3"),
        ('"postgresql://u:secret@h/x"', "it begins or ends with a quote or a space"),
        ("postgresql://u:secret@h/x\n", "it begins or ends with a quote or a space"),
        ("postgresql://u:secret@h:port/x", "it is no URL of a database"),
        ("u:secret@h/x", "it is no URL of a database"),
    ],
)
def test_a_wrong_address_of_the_database_is_told_without_its_password(url, sentence):
    with pytest.raises(BadSettings, match=re.escape(sentence)) as told:
        read(database_url=url)
    assert "database_url".replace("_", "-") in str(told.value) and "secret" not in str(told.value)


@pytest.mark.parametrize(
    "url",
    [
        *("postgresql://u:p%40@h/x", "postgres://h/x", "postgresql+psycopg://h/x?sslmode=require"),
        *("sqlite:////tmp/x.db", "postgresql:///x?host=/run"),
    ],
)
def test_a_right_address_of_the_database_is_taken(url):
    assert read(database_url=url).database_url == url


@pytest.mark.parametrize(
    ("command", "variables", "sentence"),
    [
        ("serve", {"data_dir": "/proc/nope"}, "the data folder cannot be used, see TANGENT_DATA"),
        ("migrate", {"data_dir": "/proc/nope"}, "the data folder cannot be used, see TANGENT_DATA"),
        ("worker", {"data_dir": "/nope"}, "no store at /nope: the database has no tables: run `t"),
        ("worker", {"data_dir": "/nope"}, "or check TANGENT_DATA_DIR and TANGENT_DATABASE_URL"),
        ("worker", {"database_url": "mysql://u:secret@h/x"}, "a database of the kind mysql"),
        ("worker", {"device": "gpu"}, "torch cannot compute on a device 'gpu'"),
        ("doctor", {"device": "gpu"}, "torch cannot compute on a device 'gpu'"),
    ],
)
def test_every_command_tells_what_cannot_be_used_in_a_line(tmp_path, command, variables, sentence):
    done = tangent(command, **({"data_dir": str(tmp_path)} | variables))
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("tangent: ") and len(done.stderr.strip().splitlines()) == 1
    assert sentence in done.stderr and "secret" not in done.stderr


def test_settings_without_an_effect_are_told_at_the_start(serve):
    first = serve("--no-worker")
    first.process.terminate()
    assert first.process.wait(30) == 0
    assert "no effect" not in first.logged()
    log = serve("--no-worker", scope="head2toe", backbone="vit_micro_32", prot="1").logged()
    assert "backbone resnet_micro_32, scope head\n" in log
    assert "TANGENT_SCOPE is 'head2toe', and has no effect: the default space was made with" in log
    assert "TANGENT_BACKBONE is 'vit_micro_32', and has no effect" in log
    assert "TANGENT_PROT is no setting, and has no effect: did you mean TANGENT_PORT?" in log


def test_a_port_that_is_taken_is_named(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = tangent("serve", "--no-worker", "--data-dir", tmp_path, "--port", port)
    assert done.returncode == 2
    assert f"cannot listen on 127.0.0.1:{port}" in done.stderr
