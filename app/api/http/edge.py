"""The edge of the application: the work on every request before and after its route."""

import logging
import re
from asyncio import CancelledError
from collections.abc import Mapping
from contextlib import nullcontext
from random import getrandbits
from time import perf_counter

from opentelemetry.trace import Span
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.http import auth, head, origins, problems, root_path
from app.api.http.body_limit import BodyMemory, LimitedBody
from app.api.http.methods import methods_of
from app.api.http.security_headers import protected
from app.api.http.sending import STATE, Sending, has_begun
from app.api.http.thread_pools import CLIENT_HAS_LEFT
from app.database import outages
from app.errors import Misdirected, NotReady, Problem
from app.server.logs import FIELDS, REQUEST_ID, access_log
from app.server.metrics import Metrics
from app.server.tracing import Tracing, describe
from app.settings import Settings

log = logging.getLogger(__name__)

PREFIX = "/v1"
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
SENT_BY_PAGES = (
    *("Authorization", "Content-Encoding", "Content-Type", "Idempotency-Key", "If-Match"),
    *("If-None-Match", "If-Range", "Inference-Header-Content-Length", "Last-Event-ID", "Prefer"),
    *("Range", "traceparent", "tracestate", "X-Request-Id"),
)
SHOWN_TO_PAGES = (
    *("Accept-Encoding", "Accept-Ranges", "Allow", "Content-Disposition", "Content-Range", "ETag"),
    *("Idempotent-Replayed", "Inference-Header-Content-Length", "Location", "Preference-Applied"),
    *("Retry-After", "Server-Timing", "Smallest-Label-Images", "Unconfirmed-Processes"),
    *("WWW-Authenticate", "X-Request-Id"),
)
SANE_ID = re.compile(rb"[A-Za-z0-9._:/+=-]{1,128}")


def request_id(scope: Scope) -> str:
    """Return the client's X-Request-Id if it is harmless, else a new id."""
    for name, value in scope["headers"]:
        if name == b"x-request-id" and SANE_ID.fullmatch(value):
            return value.decode()
    return f"req_{getrandbits(96):024x}"  # a name that opens nothing, so anybody may guess it


def route_of(scope: Scope) -> str:
    """Return the answering route's template, `/v1/datasets/{dataset_id}`; never the path."""
    template = getattr(scope.get("route"), "path", "none")
    # A route of an included router knows its path below the prefix only.
    below = scope["path"].startswith(PREFIX + "/") and not template.startswith(PREFIX + "/")
    return PREFIX + template if below and template != "none" else template


def ending() -> NotReady:
    """Return the problem of a request that the end of the service has interrupted."""
    return NotReady(
        "service_ending",
        "the service ended before this request was done: look whether it took place, and try "
        "again; a repetition with the same Idempotency-Key creates nothing twice",
        retry_after=5,
    )


def _failure(scope: Scope, error: Exception) -> Response:
    """Log an error that has no handler; return its answer."""
    outage = outages.problem_of(error)
    if outage is None:
        log.exception("%s", _described(scope))
        return problems.internal(scope)
    log.warning("%s: %s: %s", _described(scope), outage.code, error)
    return problems.retriable(scope, outage)


def _described(scope: Scope) -> str:
    """Return the request's id, caller and route for the log: no path, no key and no name."""
    ident = scope["state"]["request_id"]
    return f"request {ident} by {_caller(scope)}: {_method(scope)} {route_of(scope)}"


def _caller(scope: Scope) -> str:
    caller = scope["state"].get("caller")
    return caller.id if caller else "nobody"


def _method(scope: Scope) -> str:
    return scope["method"] if scope["method"] in METHODS else "other"  # any word may come


class Edge:
    """ASGI middleware: give every request an id, check its key and size, and count it.

    An error without another answer becomes a 503 or 507 here if it is an outage, else a 500.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        settings: Settings,
        metrics: Metrics,
        direct: Mapping[tuple[str, str], ASGIApp],
        tracing: Tracing | None = None,
    ) -> None:
        """`direct` has the methods and paths that are answered past the application."""
        self._direct, self._tracing = direct, tracing
        self.app, self.settings, self.metrics = app, settings, metrics
        self._memory = BodyMemory()
        self._shared = CORSMiddleware(
            self._answered,
            allow_origins=settings.origins,
            allow_methods=METHODS,
            allow_headers=SENT_BY_PAGES,
            expose_headers=SHOWN_TO_PAGES,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        prefix = self.settings.prefix
        if prefix:
            root_path.strip(scope, prefix)
        ident = request_id(scope)
        scope.setdefault("state", {})["request_id"] = ident
        REQUEST_ID.set(ident)  # of this task alone, and of the threads that it calls
        started, sending = perf_counter(), Sending(protected(scope, send), ident, prefix)
        scope["state"][STATE] = sending
        origin = origins.origin_of(scope)
        shared = origin is not None and origins.allows_origin(origin, self.settings)
        traced = nullcontext() if self._tracing is None else self._tracing.request(scope["headers"])
        with traced as span, self.metrics.in_progress.track_inprogress():
            try:
                await (self._shared if shared else self._answered)(scope, receive, sending)
            finally:
                self._note(scope, sending.status, perf_counter() - started, span)

    async def _answered(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request, or its failure; a page of an allowed origin may read both."""
        try:
            await self._checked(scope, receive, send)
        except CancelledError:  # the service ends, and its grace is over
            if not has_begun(scope):
                await problems.retriable(scope, ending())(scope, receive, send)
            raise
        except Exception as error:
            failure = _failure(scope, error)
            if has_begun(scope):
                raise  # half an answer is out: only the closed connection can tell the client
            await failure(scope, receive, send)

    async def _checked(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse requests of other sites' pages; answer OPTIONS."""
        fault = origins.fault(scope, self.settings)
        is_question = fault is not None or scope["method"] == "OPTIONS"
        methods = methods_of(scope) if is_question else []
        if isinstance(fault, Misdirected) and not methods:
            fault = None  # there is nothing there, under whatever name
        if fault is not None:
            refusal = problems.answer(scope, fault, {"Connection": "close"})
            await refusal(scope, receive, send)  # the body is left unread
        elif scope["method"] == "OPTIONS" and methods:
            allow = {"Allow": ", ".join(methods)}
            await Response(status_code=204, headers=allow)(scope, receive, send)
        else:
            await self._answer(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            scope["state"]["caller"] = caller = await auth.caller_of(scope)
            counted = auth.one_more(scope, caller)
        except Problem as problem:
            self.metrics.refused_callers.labels(problem.code).inc()
            await auth.refusal(scope, problem)(scope, receive, send)  # the body is left unread
            return
        with counted:
            await self._limited(scope, receive, send)

    async def _limited(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = LimitedBody(scope, receive, self.settings, self._memory)

        async def unless_refused(message: Message) -> None:
            if body.refused is None and (not body.was_left or has_begun(scope)):
                await send(message)

        if body.refused is None:
            try:
                await self._route(scope, body.receive, unless_refused)
            except Exception as error:
                if body.refused is None and not isinstance(error, ClientDisconnect):
                    raise
            finally:
                body.close()
        if has_begun(scope):
            return
        if body.was_left:
            await Response(status_code=CLIENT_HAS_LEFT)(scope, receive, send)
        elif body.refused is not None:
            await body.refuse(body.refused, send)

    async def _route(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] != "HEAD":
            app = self._direct.get((scope["method"], scope["path"]), self.app)
            await app(scope, receive, send)
            return
        got, send_head = head.as_get(scope, send)
        try:
            await self.app(got, receive, send_head)
        finally:
            head.copy_route(got, scope)

    def _note(self, scope: Scope, status: int, seconds: float, span: Span | None) -> None:
        """Count the answer, write its line of the access log, and describe its span."""
        route = route_of(scope)
        is_logged = access_log.isEnabledFor(logging.INFO)
        if is_logged or span is not None:
            fields = {"method": _method(scope), "route": route, "status": status}
            fields |= {"milliseconds": round(1000 * seconds, 1), "caller": _caller(scope)}
            fields |= scope["state"].get("steps", {})
            if is_logged:
                said = "{method} {route} {status} in {milliseconds} ms by {caller}".format(**fields)
                access_log.info(said, extra={FIELDS: fields})
            if span is not None:
                describe(span, fields | {"request_id": scope["state"]["request_id"]})
        self.metrics.note_request(_method(scope), route, status, seconds)
