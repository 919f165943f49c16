"""A service whose lease has ended answers nothing that a deletion could concern, and says so."""

import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from app.database import postgres_connections
from app.database.lease_tables import AnsweringProcess
from app.database.sessions import transaction
from app.inference.answering_processes import ProcessRows
from app.server.http_protocol import Counting
from app.settings import Settings
from tests.support.cut_lines import proxied
from tests.support.images import image
from tests.support.problems import problem
from tests.support.service import KEY_FREE, Service, running

SCOPE = "head"
PNG = {"Content-Type": "image/png"}


def ask(service: Service) -> Any:
    return service.client.post("/v1/predictions", content=image("cat", 90), headers=PNG)


def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_without_a_database_the_lease_ends_and_begins_again_with_it(
    postgres: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(postgres_connections, "CONNECT_SECONDS", 2)
    given = KEY_FREE | {"device": "cpu", "threads": 1, "data_dir": tmp_path, "scope": SCOPE}
    given |= {"api_key": "of the settings"}  # other keys are in the database
    given |= {"database_timeout_seconds": 0.3, "lease_seconds": 0.4}
    with (
        proxied(postgres) as (url, cut),
        running(Settings(**given | {"database_url": url})) as service,
    ):
        service.component({"cat": 2})
        assert ask(service).status_code == 200
        with cut.frozen():
            until(lambda: ask(service).json().get("code") == "lease_expired")
            answer = ask(service)
            problem(answer, 503, "lease_expired")
            assert answer.headers["Retry-After"] == "1"
        until(lambda: ask(service).status_code == 200)


def test_a_process_whose_row_was_removed_registers_again(service: Service):
    lease, sessions = service.state.lease, service.state.sessions
    ProcessRows(service.state.reading, sessions).remove(lease.id)
    lease.renew_soon()

    def is_there() -> bool:
        with transaction(sessions) as session:
            row = session.get(AnsweringProcess, lease.id)
            return row is not None and row.epoch == 0

    until(is_there)
    assert lease.held() == 0


def test_a_service_that_ends_leaves_no_row(service: Service):
    with running(service.settings), transaction(service.state.sessions) as session:
        assert session.query(AnsweringProcess).count() == 2
    with transaction(service.state.sessions) as session:
        assert [row.id for row in session.query(AnsweringProcess)] == [service.state.lease.id]


class Transport:
    """A connection that notes what is written to it."""

    def __init__(self) -> None:
        self.written, self.aborted = b"", False

    def write(self, data: bytes) -> None:
        self.written += data

    def abort(self) -> None:
        self.aborted = True


@pytest.mark.parametrize("granted", [True, False])
def test_the_permit_decides_right_before_the_bytes_go(granted: bool):
    @contextmanager
    def permit():
        yield granted

    transport = Transport()
    counting = Counting(transport)  # type: ignore[arg-type]
    counting.write(b"before ")
    counting.send_under(permit)
    counting.write(b"head ")
    assert transport.written == b"before "
    counting.write(b"body")
    counting.send_under(None)
    assert (transport.written, transport.aborted) == (
        b"before head body" if granted else b"before ",
        not granted,
    )
