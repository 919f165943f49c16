"""Parameters that routes share: parts, sessions, a page, an idempotency key, a reader.

    def upload(parts: PartsDep, once: OnceDep) -> …

The sessions are for routes that read or write rows and nothing else. `SessionDep` commits when the
route's function has returned and *before* the answer is sent, so a failing commit is answered as
the error that it is. Other work around a transaction belongs to a function of `Parts` in
another package: no module of app.api but this one opens a transaction.
"""

from collections.abc import AsyncIterator, Iterator
from functools import lru_cache
from typing import Annotated

from fastapi import Depends, Query, Request
from fastapi.exceptions import RequestValidationError
from starlette.datastructures import QueryParams

from app.access.callers import Caller
from app.api.http.edge import route_of
from app.api.http.idempotency import Once, once
from app.api.http.pages import Page, page
from app.api.http.query_names import repeated, unknown
from app.api.http.thread_pools import ThreadPools
from app.database.audit import Act, name_hash
from app.database.sessions import Session, transaction
from app.errors import NotFound
from app.inference.deletion_gate import Ticket
from app.parts import Parts
from app.server.transfers import CLIENT
from tangent_composer.schemas.texts import fault

KEPT_QUERIES = 64  # that were found right, as the same ones come again; a head bounds their size

# These only look up an attribute; as `async` they do so without a trip to the thread pool.


async def storable(request: Request) -> None:
    """Refuse texts in path and query that cannot be stored, and parameters that there are not.

    Raises:
        NotFound: for the id or name in a path.
        RequestValidationError: for a parameter of the query.
    """
    for name, value in request.path_params.items():
        # The name that a PUT makes is a field with a pattern of its own.
        if request.method != "PUT" and (why := fault(value)):
            noun = _noun(request) if name == "name" else name[: -len("_id")]
            detail = f"no {noun} {value!r} exists, as its name {why}: check the path"
            raise NotFound(f"{noun}_not_found", detail)
    if query := request.scope["query_string"]:
        check_query(query, request.scope["route"].query_names)


@lru_cache(KEPT_QUERIES)
def check_query(query: bytes, known: tuple[str, ...]) -> None:
    """Refuse a query whose texts cannot be stored, or with a parameter that is not known.

    Raises:
        RequestValidationError: with the places of all of them.
    """
    given = QueryParams(query)
    wrong = [
        {"type": "text_not_storable", "loc": ("query", name), "msg": f"the text {why}"}
        for name, value in given.multi_items()
        if (why := fault(name) or fault(value))
    ]
    names = [name for name, _ in given.multi_items()]
    wrong = wrong or unknown(given, known) or repeated(names, known)
    if wrong:
        raise RequestValidationError(wrong)


def parts(request: Request) -> Parts:
    """Return the parts, bound to the request's caller and act below /v1."""
    scope = request.scope
    found: Parts = scope["app"].state.parts
    state = scope["state"]
    caller: Caller | None = state["caller"]
    if caller is None:
        return found
    action = f"{scope['method']} {route_of(scope)}"
    objects = tuple(_object(request, *named) for named in scope["path_params"].items())
    return found.bound(caller, Act(caller.id, action, objects, state["request_id"]))


def _object(request: Request, name: str, value: str) -> str:
    """Return the id of what the path names; of what has no id, the hash of its name."""
    return name_hash(_noun(request), value) if name == "name" else value


def _noun(request: Request) -> str:
    plural = request.scope["path"].split("/")[2]
    singular = "composition" if plural == "models" else plural.removesuffix("s")
    return singular.replace("-", "_")


async def _parts(request: Request) -> Parts:
    return parts(request)


def threads(request: Request) -> ThreadPools:
    """Return the application's pools of threads."""
    pools: ThreadPools = request.app.state.threads
    return pools


async def _threads(request: Request) -> ThreadPools:
    return threads(request)


PartsDep = Annotated[Parts, Depends(_parts)]


def _session(parts: PartsDep) -> Iterator[Session]:
    with transaction(parts.sessions) as session:
        yield session


def _read_session(parts: PartsDep) -> Iterator[Session]:
    with transaction(parts.reading) as session:
        yield session


def ticket(request: Request, parts: Parts) -> Ticket:
    """Return a ticket for the request's answer; it is to be finished once that is sent."""
    client = request.scope.get("extensions", {}).get(CLIENT)
    made = Ticket(parts.gate, parts.transfers, client, parts.lease)
    request.state.ticket = made  # for app.api.http.leased_answers
    return made


async def _ticket(request: Request, parts: PartsDep) -> AsyncIterator[Ticket]:
    made = ticket(request, parts)
    try:
        yield made
    finally:
        made.finish()  # the connection has the answer: the default scope, "request"


async def _watched_ticket(ticket: "TicketDep") -> AsyncIterator[Ticket]:
    def leave() -> None:
        ticket.has_left = True

    with ticket.when_client_leaves(leave):
        yield ticket


SessionDep = Annotated[Session, Depends(_session, scope="function")]
ReadSessionDep = Annotated[Session, Depends(_read_session, scope="function")]
ProbeQuery = Annotated[
    bool,
    Query(
        description="note in the receipt what the components that remain answer a fixed batch of "
        "images with, as a hash; other changes wait for that one pass"
    ),
]
PageDep = Annotated[Page, Depends(page)]
ThreadsDep = Annotated[ThreadPools, Depends(_threads)]
TicketDep = Annotated[Ticket, Depends(_ticket)]  # enter before reading the components
WatchedTicketDep = Annotated[Ticket, Depends(_watched_ticket)]  # notes that the client has left
OnceDep = Annotated[Once, Depends(once)]
