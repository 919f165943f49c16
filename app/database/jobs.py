"""The queue of trainings: one durable job of the engine (DBOS) per queued component.

A job's id is its component's id, from the second generation on with its number (`cmp_….1`), and
its only argument, so nothing but ids is ever serialized. A job's outcome is in the component's
row only; the engine's records only say which worker has which job.
"""

import logging
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, TypedDict

from dbos import DBOS, DBOSClient, DBOSPortableJSONSerializer
from dbos import error as engine_error
from sqlalchemy import Engine as SQLEngine
from sqlalchemy import String, column, event, func, select, table
from sqlalchemy.orm import Session

from app.database.postgres_connections import open_postgres
from app.database.sql_engines import create_engine
from app.database.tables import Tombstone
from app.settings import Settings

log = logging.getLogger(__name__)

APPLICATION = "tangent"
QUEUE = "train"
WORKFLOW = "train"
SCHEMA = "dbos"  # on Postgres
VERSION = "jobs-1"  # pinned, as any edit of the workflow would else orphan the jobs queued before
WORKER_SECONDS = 30  # the engine's wait for a lock of SQLite: nobody waits for a worker
SERIALIZER = DBOSPortableJSONSerializer()  # JSON; the engine's default is pickle
# On SQLite the job engine's tables lie in our file; on Postgres in a schema that Alembic ignores.
TABLES = frozenset(
    [
        "application_versions",
        "dbos_migrations",
        "notifications",
        "operation_outputs",
        "queues",
        "streams",
        "workflow_events",
        "workflow_events_history",
        "workflow_input",
        "workflow_output",
        "workflow_schedules",
        "workflow_status",
    ]
)
# The tables with records of single jobs.
RECORD_TABLES = (
    "workflow_status",
    "workflow_input",
    "workflow_output",
    "operation_outputs",
    "workflow_events",
    "workflow_events_history",
    "streams",
)
FINISHED = ["SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"]


class ClientOptions(TypedDict, total=False):
    """Arguments of the job engine's client."""

    system_database_engine: SQLEngine


class EngineOptions(ClientOptions, total=False):
    """Keys of the job engine's configuration."""

    system_database_url: str
    db_engine_kwargs: dict[str, Any]


def engine_options(settings: Settings) -> EngineOptions:
    """Return the engine's connection to our database, for its configuration in a worker."""
    if not settings.sql_url.startswith("sqlite"):
        return {
            "system_database_url": settings.sql_url,
            "db_engine_kwargs": {"hide_parameters": True},  # see sql_engines
        }
    return {"system_database_engine": _open_sqlite(settings, WORKER_SECONDS)}


def client_options(settings: Settings) -> ClientOptions:
    """Return the connection of the engine's client, which waits as briefly as our own engine."""
    seconds = settings.database_timeout_seconds
    is_sqlite = settings.sql_url.startswith("sqlite")
    engine = _open_sqlite(settings, seconds) if is_sqlite else open_postgres(settings, limited=True)
    return {"system_database_engine": engine}


def _open_sqlite(settings: Settings, seconds: float) -> SQLEngine:
    engine = create_engine(settings.sql_url, connect_args={"timeout": seconds})
    event.listen(engine, "connect", _prepare_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    # As the engine prepares its own: reads take no lock, the first write takes it at once.
    connection.isolation_level = "IMMEDIATE"
    for pragma in ("journal_mode=WAL", "foreign_keys=ON", "synchronous=NORMAL", "secure_delete=ON"):
        connection.execute(f"PRAGMA {pragma}")


def create_tables(settings: Settings) -> None:
    """Create the engine's tables or bring them up to date; in transactions of its own."""
    DBOS.migrate(settings.sql_url, schema=SCHEMA)


def records_of(session: Session, ids: Iterable[str] | None = None) -> set[str]:
    """Return the jobs with records in the engine: of these subjects, or of all deleted ones."""
    postgres = session.get_bind().dialect.name == "postgresql"
    schema = SCHEMA if postgres else None
    wanted = select(Tombstone.subject_id) if ids is None else list(ids)
    found: set[str] = set()
    for name in RECORD_TABLES:
        job = table(name, column("workflow_uuid", String), schema=schema).c.workflow_uuid
        if postgres:
            subject: Any = func.split_part(job, ".", 1)  # see Component.job_id
        else:
            subject = func.substr(job, 1, func.instr(job.concat("."), ".") - 1)
        found.update(session.scalars(select(job).where(subject.in_(wanted)).distinct()))
    return found


class Jobs:
    """The jobs as seen from outside of the worker; runs none itself.

    Only `enqueue` takes part in the caller's transaction. The others have a connection of their own
    that on SQLite would wait in vain for the caller's open transaction: call them after commit.
    """

    def __init__(self, settings: Settings) -> None:
        self._options = client_options(settings)
        self._client = DBOSClient(
            **self._options,
            application_name=APPLICATION,
            serializer=SERIALIZER,
            lazy=True,  # a database that is down shows in the request, not in the start
            retry_connection_errors=False,
        )

    def enqueue(self, session: Session, job_id: str) -> None:
        """Queue a component's training in the caller's transaction; once, however often called."""
        self._client.enqueue_in_transaction(
            session,
            {
                "workflow_name": WORKFLOW,
                "queue_name": QUEUE,
                "workflow_id": job_id,
                "app_version": VERSION,
            },
            job_id,
        )

    def cancel(self, job_id: str) -> None:
        """Take the job off its queue or stop it; do nothing if there is no such job."""
        self._client.cancel_workflow(job_id)

    def stop(self, job_id: str) -> None:
        """Cancel the job of a component that is committed as training no more; log a failure.

        The job then goes on until its worker looks at the component's row.
        """
        try:
            self.cancel(job_id)
        except Exception as error:  # the commit took place: the caller has nothing to repeat
            log.warning("job %s could not be stopped, its worker will: %s", job_id, error)

    def forget(self, job_ids: Iterable[str]) -> None:
        """Delete all that the engine recorded of these jobs, known to it or not."""
        ids = list(job_ids)
        if ids:
            self._client.delete_workflows(ids)

    def running(self) -> dict[str, list[str]]:
        """Return the ids of the started and unfinished jobs, by the worker that took them."""
        jobs: dict[str, list[str]] = {}
        for job in self._client.list_workflows(
            status="PENDING", name=WORKFLOW, load_input=False, load_output=False
        ):
            jobs.setdefault(job.executor_id or "", []).append(job.workflow_id)
        return jobs

    def hand_back(self, job_ids: Iterable[str]) -> None:
        """Queue started jobs again, for any worker; skip finished and forgotten ones."""
        for job_id in job_ids:
            try:  # not the default queue of the engine, which knows no limit of jobs per worker
                self._client.resume_workflow(job_id, queue_name=QUEUE)
            except engine_error.DBOSNonExistentWorkflowError:
                continue

    def finished(self, *, older_than_seconds: float, limit: int = 100) -> list[str]:
        """Return the ids of jobs that finished long ago and whose records can be deleted."""
        before = datetime.now(UTC) - timedelta(seconds=older_than_seconds)
        jobs = self._client.list_workflows(
            status=FINISHED,
            name=WORKFLOW,
            completed_before=before.isoformat(),
            limit=limit,
            load_input=False,
            load_output=False,
        )
        return [job.workflow_id for job in jobs]

    def close(self) -> None:
        """Close the engine's connections."""
        self._client.destroy()
        if engine := self._options.get("system_database_engine"):
            engine.dispose()
