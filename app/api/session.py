"""The session of a browser: a cookie for a key, as events and images cannot send a header."""

from fastapi import APIRouter, Request, Response

from app.access.callers import Caller
from app.access.session_admission import check_csrf
from app.api.http import deps
from app.api.http.auth import address_of, csrf_token_of
from app.api.http.cookies import clear_cookie, session_tokens, set_cookie
from app.errors import Problem
from app.operations.browser_sessions import begin_session, end_sessions, shown
from app.parts import Parts
from tangent_composer.schemas.problems import problems
from tangent_composer.schemas.sessions import SessionIn, SessionOut

router = APIRouter(prefix="/session", tags=["session"])


@router.post("", summary="Begin a session", responses=problems(401, 409, 413, 422, 429))
def begin(body: SessionIn, request: Request, response: Response) -> SessionOut:
    """Takes a key and sets the cookie `tangent_session`, by which requests are the key's.

    A wrong key is refused, and slows its address down, as one in a header is. The cookie goes
    to this service alone, and no script can read it. A session that the browser had ends.
    """
    key = body.key.strip()
    request.state.caller = _caller_with(request, key)
    made, token = begin_session(deps.parts(request), key, session_tokens(request.scope))
    assert made.expires_at is not None
    set_cookie(response, request.scope, token, made.expires_at)
    return made


@router.get("", summary="Show the session")
def show(request: Request, response: Response) -> SessionOut:
    """Tells whether the service needs a key, and of which key the browser's session is."""
    parts, cookies = _parts(request), session_tokens(request.scope)
    admission = parts.session_admission
    found = shown(parts, admission.known(cookies) or admission.read(cookies))
    if cookies and not found.authenticated:
        clear_cookie(response, request.scope)
    return found


@router.delete(
    "", status_code=204, summary="End the session", responses=problems(403), response_class=Response
)
def end(request: Request) -> Response:
    """Ends the session for good and has the browser forget the cookie; without one, does nothing.

    As every change by a cookie, it needs X-CSRF-Token.
    """
    admission, cookies = _parts(request).session_admission, session_tokens(request.scope)
    seen = admission.known(cookies) or admission.read(cookies)
    if seen.session is not None and admission.needs_key(seen):
        check_csrf(seen.session.token, csrf_token_of(request.scope))
        request.state.caller = Caller(seen.session.key_id, frozenset())
        end_sessions(deps.parts(request), cookies)
    answer = Response(status_code=204)
    clear_cookie(answer, request.scope)
    return answer


def _parts(request: Request) -> Parts:
    found: Parts = request.app.state.parts
    return found


def _caller_with(request: Request, key: str) -> Caller:
    """Return the caller with this key, counting the request as one with it in a header."""
    parts = _parts(request)
    admission = parts.admission
    found = admission.known(key) or admission.keyring.read(key)
    try:
        return admission.admit(key, found, address_of(request.scope))
    except Problem as problem:
        parts.metrics.refused_callers.labels(problem.code).inc()
        raise
