"""The log of a failing database holds no label, path, name, note or hash: it outlives deletions."""

import hashlib
import traceback
from collections.abc import Callable

import psycopg
import pytest
from sqlalchemy import insert, text
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, OperationalError

from app.database import jobs
from app.database.sessions import open_engine, session_factory, transaction
from app.database.tables import Tombstone
from app.settings import Settings
from tests.support.archives import archive
from tests.support.images import image
from tests.support.problems import problem
from tests.support.service import KEY_FREE, Service

SECRET = "hiv-positive"


def logged(error: BaseException) -> str:
    """Return all that a log can say of an error: itself, and its traceback."""
    lines = (line for line in traceback.format_exception(error) if not line.startswith("  File"))
    return f"{error}\n{''.join(lines)}"


def refused(settings: Settings, statement: str, kind: type[DBAPIError], **values: str) -> str:
    engine = open_engine(settings)
    try:
        with pytest.raises(kind) as found, engine.begin() as connection:
            connection.execute(text(statement), values).all()
    finally:
        engine.dispose()
    return logged(found.value)


def test_a_write_that_waits_for_a_lock_in_vain_leaves_no_image_in_the_log(
    postgres: str, serve: Callable[..., Service], caplog: pytest.LogCaptureFixture
):
    service = serve(database_url=postgres, database_timeout_seconds=0.3)
    content = image("cat", 1)
    files = {"file": ("a.zip", archive({f"{SECRET}/jane-doe.png": content}))}
    with psycopg.connect(postgres) as other:
        other.execute("LOCK TABLE image IN SHARE MODE")  # as CREATE INDEX holds it
        answer = service.client.post("/v1/datasets", files=files, data={"name": "Jane Doe 1970"})
    problem(answer, 503, "database_busy")
    with psycopg.connect(postgres) as other:
        dataset_id = service.client.post("/v1/datasets", files=files).json()["id"]
        other.execute("LOCK TABLE dataset IN SHARE MODE")
        change = {"name": "Jane Roe", "metadata": {"mrn": "4711"}}
        problem(
            service.client.patch(f"/v1/datasets/{dataset_id}", json=change), 503, "database_busy"
        )

    said = [each for each in caplog.messages if "database_busy" in each]
    assert len(said) == 2
    assert "LockNotAvailable" in said[0] and "55P03" in said[0] and "INSERT INTO image" in said[0]
    assert "UPDATE dataset" in said[1]
    digest = hashlib.sha256(content).hexdigest()
    for secret in (SECRET, "jane-doe", "Jane Doe", "Jane Roe", "4711", digest):
        assert secret not in caplog.text


def test_a_row_that_postgres_refuses_is_not_repeated(postgres: str):
    settings = Settings(**KEY_FREE | {"database_url": postgres})
    engine = open_engine(settings)
    try:
        with (
            pytest.raises(IntegrityError) as found,
            transaction(session_factory(engine)) as session,
        ):
            for _ in range(2):
                session.execute(insert(Tombstone).values(subject_id=SECRET, receipt_id="rcpt_1"))
    finally:
        engine.dispose()
    said = logged(found.value)
    assert SECRET not in said
    assert "violates" in said and "INSERT INTO tombstone" in said


def test_a_value_that_is_none_of_its_type_is_not_repeated(postgres: str):
    settings = Settings(**KEY_FREE | {"database_url": postgres})
    said = refused(settings, "SELECT CAST(CAST(:a AS text) AS integer)", DataError, a=SECRET)
    assert SECRET not in said
    assert "InvalidTextRepresentation" in said and "22P02" in said


def test_text_that_sqlite_cannot_decode_is_not_repeated(tmp_path):
    settings = Settings(**KEY_FREE | {"data_dir": tmp_path})
    statement = f"SELECT CAST(x'{SECRET.encode().hex()}ff' AS TEXT) AS label"
    said = refused(settings, statement, OperationalError)
    assert SECRET not in said
    assert "Could not decode to UTF-8 column 'label'" in said


def test_an_error_of_a_statement_names_no_parameter_on_sqlite(tmp_path):
    settings = Settings(**KEY_FREE | {"data_dir": tmp_path})
    said = refused(settings, "SELECT :a FROM nowhere", OperationalError, a=SECRET)
    assert SECRET not in said
    assert "no such table: nowhere" in said and "SELECT ? FROM nowhere" in said


def test_the_job_engine_of_a_worker_names_no_parameter():
    settings = Settings(**KEY_FREE | {"database_url": "postgresql://nobody@127.0.0.1:1/none"})
    assert jobs.engine_options(settings)["db_engine_kwargs"] == {"hide_parameters": True}
