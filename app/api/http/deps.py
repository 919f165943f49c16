"""What a route asks for in its signature: session, blobs, engine, jobs, settings, a page, a key.

    def upload(session: SessionDep, blobs: BlobsDep, once: OnceDep) -> …

`SessionDep` commits when the route's function has returned and *before* the answer is sent, so a
failing commit is answered as the error that it is. A route that must act after the commit (rows,
commit, then blobs) takes `SessionsDep` and opens `transaction(sessions)` itself; one that deletes
does so within `engine.exclusive()`, so the gate is always taken before the database.
"""

from collections.abc import AsyncIterator, Iterator
from typing import Annotated

from fastapi import Depends, Request
from fastapi.exceptions import RequestValidationError

from app.api.http.idempotency import Once, once
from app.api.http.pages import Page, page
from app.errors import NotFound
from app.inference.deletion_gate import Ticket
from app.inference.engine import Engine
from app.metrics import Metrics
from app.receipts.signing import Signer
from app.schemas.texts import fault
from app.settings import Settings
from app.store.blobs import LocalBlobs
from app.store.db import Session, sessionmaker, transaction
from app.store.jobs import Jobs

Sessions = sessionmaker[Session]

# These only look up an attribute; as `async` they do so without a trip to the thread pool.


async def storable(request: Request) -> None:
    """Refuses texts in the path and the query that nothing stored can have.

    Raises:
        NotFound: for the id or name in a path.
        RequestValidationError: for a parameter of the query.
    """
    path = request.scope["path"]
    for name, value in request.path_params.items():
        # The name that a PUT makes is a field with a pattern of its own.
        if request.method != "PUT" and (why := fault(value)):
            noun = path.split("/")[2].removesuffix("s") if name == "name" else name[: -len("_id")]
            detail = f"no {noun} {value!r} exists, as its name {why}: check the path"
            raise NotFound(f"{noun}_not_found", detail)
    wrong = [
        {"type": "text_not_storable", "loc": ("query", name), "msg": f"the text {why}"}
        for name, value in request.query_params.multi_items()
        if (why := fault(name) or fault(value))
    ]
    if wrong:
        raise RequestValidationError(wrong)


async def _settings(request: Request) -> Settings:
    return request.app.state.settings


async def _sessions(request: Request) -> Sessions:
    return request.app.state.sessions


async def _reading(request: Request) -> Sessions:
    return request.app.state.reading


async def _blobs(request: Request) -> LocalBlobs:
    return request.app.state.blobs


async def _engine(request: Request) -> Engine:
    return request.app.state.engine


async def _jobs(request: Request) -> Jobs:
    return request.app.state.jobs


async def _signer(request: Request) -> Signer | None:
    return request.app.state.signer


def _session(sessions: Annotated[Sessions, Depends(_sessions)]) -> Iterator[Session]:
    with transaction(sessions) as session:
        yield session


def _read_session(reading: Annotated[Sessions, Depends(_reading)]) -> Iterator[Session]:
    with transaction(reading) as session:
        yield session


async def _ticket(engine: Annotated[Engine, Depends(_engine)]) -> AsyncIterator[Ticket]:
    ticket = engine.ticket()
    try:
        yield ticket
    finally:
        ticket.leave()  # when the answer is sent: the default scope, "request"


async def _metrics(request: Request) -> Metrics:
    return request.app.state.metrics


SettingsDep = Annotated[Settings, Depends(_settings)]
SessionsDep = Annotated[Sessions, Depends(_sessions)]  # makes writing sessions
ReadSessionsDep = Annotated[Sessions, Depends(_reading)]  # makes reading sessions
SessionDep = Annotated[Session, Depends(_session, scope="function")]
ReadSessionDep = Annotated[Session, Depends(_read_session, scope="function")]
BlobsDep = Annotated[LocalBlobs, Depends(_blobs)]
EngineDep = Annotated[Engine, Depends(_engine)]
SignerDep = Annotated[Signer | None, Depends(_signer)]  # None: receipts are not signed
JobsDep = Annotated[Jobs, Depends(_jobs)]
PageDep = Annotated[Page, Depends(page)]
TicketDep = Annotated[Ticket, Depends(_ticket)]  # enter before reading the components
MetricsDep = Annotated[Metrics, Depends(_metrics)]
OnceDep = Annotated[Once, Depends(once)]
