"""The caller of a request below /v1 or /v2/models, found before anything of its body is read.

The caller has a key in an Authorization header or, in a browser, the cookie of a session that was
begun with one. The header goes before the cookie.
"""

from contextlib import AbstractContextManager, nullcontext

from starlette.concurrency import run_in_threadpool
from starlette.responses import Response
from starlette.types import Scope

from app.access.admission import Admission
from app.access.callers import Caller
from app.access.session_admission import CSRF_HEADER, SessionAdmission
from app.api.http import problems
from app.api.http.cookies import session_tokens
from app.api.http.origins import SAFE_METHODS
from app.errors import Problem

GUARDED = ("/v1/", "/v2/models/")
METRICS = "/metrics"
DOCUMENTATION = ("/docs", "/redoc", "/openapi.json", "/static-offline-docs")


async def caller_of(scope: Scope) -> Caller | None:
    """Return who sends the request; None outside of GUARDED, where nobody is asked.

    Metrics and documentation are as /v1 where the settings close them.

    Raises:
        Unauthorized, TooManyRequests: as `Admission.admit`.
        Unauthorized, Forbidden, TooManyRequests: as `SessionAdmission.admit`.
    """
    if not _guarded(scope):
        return None
    admission: Admission = scope["app"].state.parts.admission
    token = _token(scope)
    if token is None and (cookies := session_tokens(scope)):
        return await _by_session(scope, cookies)
    found = admission.known(token)
    if found is None:
        found = await run_in_threadpool(admission.keyring.read, token)
    return admission.admit(token, found, address_of(scope))


async def _by_session(scope: Scope, cookies: list[str]) -> Caller:
    admission: SessionAdmission = scope["app"].state.parts.session_admission
    seen = admission.known(cookies)
    if seen is None:
        seen = await run_in_threadpool(admission.read, cookies)
    changes = scope["method"] not in SAFE_METHODS
    return admission.admit(seen, changes=changes, csrf_token=csrf_token_of(scope))


def address_of(scope: Scope) -> str:
    """Return the address that the request comes from."""
    client = scope.get("client")
    return client[0] if client else ""


def csrf_token_of(scope: Scope) -> str | None:
    """Return what the request has against requests of other sites; None if it has nothing."""
    name = CSRF_HEADER.lower().encode()
    values = [value.decode("latin-1") for key, value in scope["headers"] if key == name]
    return ", ".join(values) or None


def one_more(scope: Scope, caller: Caller | None) -> AbstractContextManager[None]:
    """Count the caller's request among the open ones, until the block of what is returned ends.

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
