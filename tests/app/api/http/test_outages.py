"""Every route answers 503 or 507 while the database, the disk or the memory is not to be had."""

import errno
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import psycopg
import pytest
from sqlalchemy import event, exc

from app.database import outages
from app.database.sessions import Unsettled, open_engine, session_factory
from app.files.blobs import LocalBlobs
from app.settings import Settings
from tests.support.images import archive, image
from tests.support.problems import problem
from tests.support.service import KEY_FREE, Service

Serve = Callable[..., Service]
NOWHERE = "postgresql://nobody@127.0.0.1:1/none"
# These have answers of their own, or need no database.
OPEN = (
    "/livez",
    "/readyz",
    "/metrics",
    "/session",  # by what is known of keys, see tests/app/access/test_session_admission.py
    "/v1/limits",
    "/v1/receipts/key",
    "/v1/receipts/checkpoint",
    *("/v2", "/v2/health/live", "/v2/health/ready"),
)
FILE = ("a.zip", archive({"cat": 2}), "application/zip")
TENSOR = {"name": "pixels", "datatype": "UINT8", "shape": [1, 1, 1, 3], "data": [1, 2, 3]}
EVALUATION = {"dataset_id": "ds_1", "components": [{"id": "cmp_1"}]}
BODIES: dict[str, dict[str, Any]] = {
    "post /v1/datasets": {"files": {"file": FILE}},
    "post /v1/datasets/{dataset_id}/images": {"files": {"file": FILE}},
    "patch /v1/datasets/{dataset_id}/images/{image_id}": {"json": {"label": "dog"}},
    "post /v1/datasets/{dataset_id}/labels": {"json": {"rename": {"cat": "dog"}}},
    "post /v1/components": {"json": {"dataset_id": "ds_1"}},
    "post /v1/components/import": {"files": {"file": ("a.safetensors", b"x" * 64)}},
    "post /v1/components/derive": {
        "json": {"operator": "task_arithmetic", "parents": [{"id": "cmp_1"}, {"id": "cmp_2"}]}
    },
    "put /v1/compositions/{name}": {"json": {"rule": "joint", "components": "all"}},
    "post /v1/compositions/{name}/solve": {"json": {"dataset_id": "ds_1"}},
    "post /v1/predictions": {"files": {"images": ("a.png", image("cat", 1), "image/png")}},
    "post /v2/models/{name}/infer": {"json": {"inputs": [TENSOR]}},
    "post /v1/evaluations": {"json": EVALUATION},
    "post /v1/batch-predictions": {"json": EVALUATION},
    "get /v1/images": {"params": {"sha256": "0" * 64}},
    "post /v1/images/search": {"files": {"image": ("a.png", image("cat", 1), "image/png")}},
    "get /v1/receipts/consistency": {"params": {"first": 0}},
    "post /v1/keys": {"json": {"name": "a", "scopes": ["admin"]}},
    "patch /v1/spaces/{name}": {"json": {"shared": True}},
    "post /v1/datasets/{dataset_id}/images/delete": {"json": {"ids": ["img_1"]}},
    "patch /v1/datasets/{dataset_id}": {"json": {"name": "n"}},
    "put /v1/datasets/{dataset_id}/privacy": {"json": {"epsilon": 1.0, "delta": 1e-5}},
    "patch /v1/components/{component_id}": {"json": {"name": "n"}},
    "patch /v1/compositions/{name}": {"json": {"metadata": {"a": "b"}}},
    "post /v1/spaces": {"json": {"name": "s", "backbone": "resnet_micro_32", "scope": "head"}},
}


def ask(service: Service, name: str, **ids: str) -> httpx.Response:
    """Send a request that the operation accepts, with an Idempotency-Key."""
    method, path = name.split()
    named = {"dataset_id": "ds_1", "component_id": "cmp_1", "image_id": "img_1", "name": "x"}
    others = {
        "evaluation_id": "ev_1",
        "batch_prediction_id": "bp_1",
        "receipt_id": "rcpt_1",
        "key_id": "key_1",
    }
    address = path.format(**(named | others | ids))
    headers = {"Idempotency-Key": "k"} if method == "post" else {}
    return service.client.request(method, address, headers=headers, **BODIES.get(name, {}))


def operations(service: Service) -> list[str]:
    """Return `get /v1/datasets` and all other routes below /v1 that need the database."""
    paths = service.client.get("/openapi.json").json()["paths"]
    return [f"{method} {path}" for path in paths if path not in OPEN for method in paths[path]]


@contextmanager
def without_database(service: Service) -> Iterator[None]:
    engine = open_engine(Settings(**KEY_FREE | {"database_url": NOWHERE}))
    reading = session_factory(engine, read_only=True)
    sessions = session_factory(engine)
    with service.replaced(sessions=sessions, reading=reading, health=reading):
        yield
    engine.dispose()


def test_no_route_answers_500_while_the_database_is_away(service: Service):
    with without_database(service):
        for name in operations(service):
            answer = ask(service, name)
            document = problem(answer, 503, "database_unavailable")
            assert answer.headers["retry-after"] == str(document["retry_after"]) == "5"
            assert "try again" in document["detail"] and "127.0.0.1" not in answer.text
        assert service.client.get("/livez").status_code == 200
        assert service.client.get("/readyz").status_code == 503
        assert "tangent_database_up 0" in service.client.get("/metrics").text
    assert service.client.get("/v1/datasets").status_code == 200


@pytest.fixture
def impatient(serve: Serve) -> Service:
    """A service that waits for a fifth of a second, with a trained component."""
    service = serve(database_timeout_seconds=0.2)
    service.component({"cat": 3, "dog": 3})
    return service


def ids_of(service: Service) -> dict[str, str]:
    component = service.client.get("/v1/components").json()["data"][0]
    images = service.client.get(f"/v1/datasets/{component['dataset_id']}/images").json()["data"]
    return {
        "component_id": component["id"],
        "dataset_id": component["dataset_id"],
        "image_id": images[0]["id"],
    }


WRITES = [
    *("post /v1/datasets", "post /v1/components", "put /v1/compositions/{name}"),
    *("delete /v1/components/{component_id}", "delete /v1/datasets/{dataset_id}/images/{image_id}"),
    *("post /v1/datasets/{dataset_id}/labels", "post /v1/spaces", "post /v1/evaluations"),
]


def test_a_locked_sqlite_file_is_a_busy_database_and_is_read_meanwhile(impatient: Service):
    ids, path = ids_of(impatient), impatient.settings.data_dir / "tangent.db"
    body = {"dataset_id": ids["dataset_id"]}
    held = sqlite3.connect(path, isolation_level=None)
    held.execute("BEGIN IMMEDIATE")
    try:
        for name in WRITES:
            answer = (
                impatient.client.post("/v1/evaluations", json=body)
                if name == "post /v1/evaluations"
                else ask(impatient, name, **ids)
            )
            if name == "post /v1/components":
                assert answer.status_code in (404, 503)
                answer = impatient.client.post("/v1/components", json=body)
            document = problem(answer, 503, "database_busy")
            assert answer.headers["retry-after"] == str(document["retry_after"])
        assert impatient.client.get("/v1/components").status_code == 200
        assert impatient.client.get("/readyz").status_code == 200
        files = {"images": ("a.png", image("cat", 1), "image/png")}
        assert impatient.client.post("/v1/predictions", files=files).status_code == 200
    finally:
        held.execute("ROLLBACK")
        held.close()
    assert list(impatient.state.blobs.scratch.iterdir()) == []
    found = {key.split("/")[1] for key in impatient.state.blobs.keys("")}
    assert found == {ids["component_id"], ids["dataset_id"]}
    assert ask(impatient, "delete /v1/components/{component_id}", **ids).status_code == 200


def test_a_pool_without_a_free_connection_is_a_busy_database(impatient: Service):
    engine = impatient.state.reading.kw["bind"]
    held = [engine.connect() for _ in range(15)]
    try:
        problem(impatient.client.get("/v1/datasets"), 503, "database_busy")
        problem(impatient.client.delete("/v1/components/cmp_1"), 503, "database_busy")
    finally:
        for each in held:
            each.close()
    assert impatient.client.get("/v1/datasets").status_code == 200


@contextmanager
def full_database(service: Service) -> Iterator[None]:
    """Let SQLite's file grow no further, which its error calls a full disk."""
    engine = service.state.sessions.kw["bind"]
    engine.dispose()

    def bound(connection: Any, _record: Any) -> None:
        connection.execute("PRAGMA max_page_count=1")  # that is, no more than there are

    event.listen(engine, "connect", bound)
    yield
    event.remove(engine, "connect", bound)
    engine.dispose()


def test_a_full_database_is_a_full_disk_and_nothing_is_half_done(service: Service):
    service.component({"cat": 3, "dog": 3})
    seen = list(service.state.blobs.keys())
    large = {"file": ("a.zip", archive({"cat" * 60: 60}), "application/zip")}
    with full_database(service):
        body, number = {"rule": "joint", "components": "all"}, 0
        while (answer := service.client.put(f"/v1/compositions/x{number}", json=body)).is_success:
            number += 1  # until the free room within the file is used up
        problem(answer, 507, "disk_full")
        assert answer.headers["retry-after"] == "60"
        problem(service.client.post("/v1/datasets", files=large), 507, "disk_full")
        assert service.client.get("/v1/datasets").status_code == 200
    assert list(service.state.blobs.keys()) == seen
    assert list(service.state.blobs.scratch.iterdir()) == []
    assert ask(service, "post /v1/datasets").status_code == 201


@pytest.mark.parametrize(
    ("number", "status", "code"),
    [
        (errno.ENOSPC, 507, "disk_full"),
        (errno.EDQUOT, 507, "disk_full"),
        (errno.EROFS, 503, "storage_unavailable"),
        (errno.EIO, 503, "storage_unavailable"),
        (errno.EMFILE, 503, "out_of_resources"),
    ],
)
def test_an_error_of_the_disk_is_no_fault_of_the_service(
    service: Service, monkeypatch: pytest.MonkeyPatch, number: int, status: int, code: str
):
    def fail(*_: Any, **__: Any) -> None:
        raise OSError(number, "as the system says")

    monkeypatch.setattr(LocalBlobs, "put", fail)
    problem(ask(service, "post /v1/datasets"), status, code)
    assert service.client.get("/v1/datasets").json()["data"] == []
    assert list(service.state.blobs.scratch.iterdir()) == []


def of_postgres(
    state: str | None, kind: type[exc.DBAPIError] = exc.OperationalError
) -> exc.DBAPIError:
    made = psycopg.OperationalError if state is None else psycopg.errors.lookup(state)
    return kind("SELECT", {}, made("as the server says"))


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (of_postgres(None), "database_unavailable"),
        (of_postgres("08006"), "database_unavailable"),
        (of_postgres("57P01"), "database_unavailable"),
        (of_postgres("25006"), "database_unavailable"),
        (of_postgres("53100"), "disk_full"),
        (of_postgres("53300"), "database_busy"),
        (of_postgres("55P03"), "database_busy"),
        (of_postgres("57014"), "database_busy"),
        (of_postgres("40P01"), "database_busy"),
        (of_postgres("23505"), None),
        (of_postgres("23505", exc.IntegrityError), None),
        (of_postgres("42P01", exc.ProgrammingError), None),
        (exc.TimeoutError("no connection"), "database_busy"),
        (of_postgres(None, Unsettled), "outcome_unknown"),
        (MemoryError(), "out_of_memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "out_of_memory"),
        (RuntimeError("can't start new thread"), "out_of_resources"),
        (FileNotFoundError(errno.ENOENT, "no file"), None),
        (KeyError("mine"), None),
    ],
)
def test_an_error_is_an_outage_by_its_kind(error: Exception, code: str | None):
    found = outages.problem_of(error)
    assert (found and found.code) == code


def test_the_cause_of_an_error_counts():
    try:
        try:
            raise OSError(errno.ENOSPC, "No space left on device")
        except OSError as error:
            raise ValueError("the file could not be written") from error
    except ValueError as error:
        found = outages.problem_of(error)
    assert found is not None and found.code == "disk_full"


def test_every_outage_says_when_to_come_back():
    assert set(outages.SECONDS) == set(outages.DETAILS)
    for code, seconds in outages.SECONDS.items():
        made = outages.problem(code)
        assert made.extra == {"retry_after": seconds}
        assert made.status == (507 if code == "disk_full" else 503)
        assert "{" not in made.detail


def test_the_document_declares_outages(shared: Service):
    paths = shared.client.get("/openapi.json").json()["paths"]
    for name in operations(shared):
        method, path = name.split()
        answers = paths[path][method]["responses"]
        assert "Retry-After" in answers["503"]["headers"], name
        assert ("507" in answers) == (method != "get"), name
