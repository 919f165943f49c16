"""The caller of a request below /v1 or /v2/models, found before anything of its body is read."""

from contextlib import AbstractContextManager, nullcontext

from starlette.concurrency import run_in_threadpool
from starlette.responses import Response
from starlette.types import Scope

from app.access.admission import Admission
from app.access.callers import Caller
from app.api.http import problems
from app.errors import Problem

GUARDED = ("/v1/", "/v2/models/")
METRICS = "/metrics"
DOCUMENTATION = ("/docs", "/redoc", "/openapi.json", "/static-offline-docs")


async def caller_of(scope: Scope) -> Caller | None:
    """Return who sends the request; None outside of GUARDED, where nobody is asked.

    Metrics and documentation are as /v1 where the settings close them.

    Raises:
        Unauthorized, TooManyRequests: as `Admission.admit`.
    """
    if not _guarded(scope):
        return None
    admission: Admission = scope["app"].state.parts.admission
    token = _token(scope)
    found = admission.known(token)
    if found is None:
        found = await run_in_threadpool(admission.keyring.read, token)
    client = scope.get("client")
    return admission.admit(token, found, client[0] if client else "")


def one_more(scope: Scope, caller: Caller | None) -> AbstractContextManager[None]:
    """Count the caller's request among the open ones during the block.

    Raises:
        TooManyRequests: `too_many_at_once`.
    """
    if caller is None:
        return nullcontext()
    admission: Admission = scope["app"].state.parts.admission
    return admission.concurrency.one_more(caller)


def refusal(scope: Scope, problem: Problem) -> Response:
    """Return the answer to a request without a caller; the connection ends, as its body is left."""
    answer = problems.retriable(scope, problem)
    answer.headers["Connection"] = "close"
    if problem.status == 401:
        answer.headers["WWW-Authenticate"] = 'Bearer realm="tangent"'
    return answer


def _guarded(scope: Scope) -> bool:
    path, settings = scope["path"], scope["app"].state.settings
    if path == METRICS:
        return not settings.open_metrics
    if path.startswith(DOCUMENTATION):
        return not settings.open_docs
    return path == "/v1" or path.startswith(GUARDED)


def _token(scope: Scope) -> str | None:
    """Return the token of the only Authorization header, if it is a Bearer token."""
    values = [value for name, value in scope["headers"] if name == b"authorization"]
    if len(values) != 1:
        return None
    scheme, _, token = values[0].partition(b" ")
    return token.strip().decode(errors="replace") if scheme.lower() == b"bearer" else None
