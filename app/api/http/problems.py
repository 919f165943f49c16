"""Every error as `application/problem+json` (RFC 9457) with a stable `code`."""

import json
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.types import Scope

from app.api.http import faults_in_words
from app.api.http.methods import methods_of
from app.errors import Conflict, Invalid, Malformed, NotReady, Problem
from tangent.errors import (
    BackboneUnavailable,
    FingerprintMismatch,
    OutOfMemory,
    TangentError,
    WrongWeights,
)
from tangent_composer.schemas.problems import MEDIA_TYPE

TANGENT_FAMILY: dict[type[TangentError], type[Problem]] = {
    FingerprintMismatch: Conflict,
    WrongWeights: Invalid,
    BackboneUnavailable: NotReady,
    OutOfMemory: NotReady,
}
MAX_DETAIL = 4_000  # characters; a longer sentence repeats what the client sent
MAX_POINTER = 300
INFERENCE = "/v2/"  # clients of the Open Inference Protocol show the member `error` only
MAX_ERRORS = 20
CHALLENGE = {"WWW-Authenticate": 'Bearer realm="tangent"'}
RETRY_SECONDS = {503: 1, 507: 60}
HTTP_CODES = {
    400: "malformed_request",
    404: "route_not_found",
    405: "method_not_allowed",
    413: "request_too_large",
    415: "unsupported_media_type",
}


class ProblemResponse(JSONResponse):
    """A problem document; characters that UTF-8 cannot encode are replaced."""

    media_type = MEDIA_TYPE

    def render(self, content: Any) -> bytes:
        text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
        return text.encode(errors="replace")


def _cut(text: str, most: int) -> str:
    """Return the text, shortened in the middle: its last words say what to do."""
    return text if len(text) <= most else f"{text[: most // 2]} … {text[-most // 2 :]}"


def document(
    scope: Scope, /, *, status: int, title: str, code: str, detail: str, **extra: Any
) -> dict[str, Any]:
    """Return the problem's members; `extra` has `errors` and others."""
    return {
        "type": "about:blank",
        "title": title,
        "status": status,
        "detail": _cut(detail, MAX_DETAIL),
        "instance": scope["app"].state.settings.prefix + scope["path"],
        "code": code,
        "request_id": scope.get("state", {}).get("request_id", ""),
        **({"error": _cut(detail, MAX_DETAIL)} if scope["path"].startswith(INFERENCE) else {}),
    } | extra


def of(scope: Scope, problem: Problem) -> dict[str, Any]:
    """Return the document of a problem."""
    return document(
        scope,
        status=problem.status,
        title=problem.title,
        code=problem.code,
        detail=problem.detail,
        **problem.extra,
    )


def answer(scope: Scope, problem: Problem, headers: dict[str, str] | None = None) -> Response:
    """Return the answer to a problem, for middleware, which has no handlers below it."""
    return ProblemResponse(of(scope, problem), problem.status, headers=headers)


def internal(scope: Scope) -> Response:
    """Return the answer to an unexpected error: no details, but the id of its log entry."""
    body = document(
        scope,
        status=500,
        title="Internal error",
        code="internal_error",
        detail="the service failed on this request; its log has the cause under this request_id",
    )
    return ProblemResponse(body, 500)


def from_tangent(error: TangentError) -> Problem:
    """Return the problem of a TangentError: 422 unless TANGENT_FAMILY has its class."""
    family = next((to for kind, to in TANGENT_FAMILY.items() if isinstance(error, kind)), Invalid)
    return family(error.code, str(error))


def pointer(location: tuple[Any, ...]) -> str:
    """Return an invalid field's place: `/components/0/weight` in a body, else `#query/limit`."""
    where, *rest = [str(part).replace("~", "~0").replace("/", "~1") for part in location]
    path = "/".join(rest)
    return f"/{path}" if where == "body" else f"#{where}/{path}"


def retriable(scope: Scope, error: Problem) -> Response:
    """Return the answer to a problem: with Retry-After where another try may succeed.

    Where a key is missing, it says in which form one is sent.
    """
    seconds = error.extra.get("retry_after", RETRY_SECONDS.get(error.status))
    headers = {} if seconds is None else {"Retry-After": str(seconds)}
    return answer(scope, error, headers | (CHALLENGE if error.status == 401 else {}))


async def _problem(request: Request, error: Problem) -> Response:
    return retriable(request.scope, error)


async def _tangent(request: Request, error: TangentError) -> Response:
    return await _problem(request, from_tangent(error))


async def _validation(request: Request, error: RequestValidationError) -> Response:
    found = error.errors()
    if malformed := next((item for item in found if item["type"] == "json_invalid"), None):
        detail = faults_in_words.of_json(malformed)
        return answer(request.scope, Malformed("malformed_json", detail))
    if (other := faults_in_words.other_media_type(request, found)) is not None:
        return answer(request.scope, other)
    if any(item["loc"] == ("body",) and item["type"] == "missing" for item in found):
        return answer(request.scope, Malformed("malformed_json", faults_in_words.EMPTY))
    errors = [
        {
            "pointer": _cut(pointer(item["loc"]), MAX_POINTER),
            "detail": _cut(faults_in_words.of_field(item), MAX_DETAIL // 4),
        }
        for item in found[:MAX_ERRORS]
    ]
    places = "; ".join(f"{item['pointer']}: {item['detail']}" for item in errors[:3])
    more = len(found) - len(errors)
    rest = f"; {more} more faults are not listed" if more else ""
    body = document(
        request.scope,
        status=422,
        title="Invalid",
        code="invalid_request",
        detail=f"the request does not fit this route's schema: {places}{rest}",
        errors=errors,
    )
    return ProblemResponse(body, 422)


async def _http(request: Request, error: HTTPException) -> Response:
    path, method = request.scope["path"], request.scope["method"]
    bare = {**request.scope, "path": path.rstrip("/")}
    slash = path.endswith("/") and methods_of(bare)
    details = {
        404: f"no route {path}: "
        + ("leave out the slash at its end" if slash else "/docs lists the routes"),
        405: f"{method} is not a method of {path}: see the Allow header",
    }
    body = document(
        request.scope,
        status=error.status_code,
        title=HTTPStatus(error.status_code).phrase,
        code=HTTP_CODES.get(error.status_code, f"http_{error.status_code}"),
        detail=details.get(error.status_code, faults_in_words.of_body(error)),
    )
    headers = error.headers
    if error.status_code == 405:  # the router knows only the methods of the route that it met first
        headers = {**(headers or {}), "Allow": ", ".join(methods_of(request.scope))}
    return ProblemResponse(body, error.status_code, headers=headers)


HANDLERS: dict[type[Exception], Callable[[Request, Any], Awaitable[Response]]] = {
    Problem: _problem,
    TangentError: _tangent,
    RequestValidationError: _validation,
    HTTPException: _http,
}


def add_handlers(app: FastAPI) -> None:
    """Give the application one handler for each family of errors."""
    for family, handler in HANDLERS.items():
        app.add_exception_handler(family, handler)


async def answer_to(request: Request, error: Exception) -> Response | None:
    """Return the answer to an error, as the application's handlers make it; None if they do not."""
    for family, handler in HANDLERS.items():
        if isinstance(error, family):
            return await handler(request, error)
    return None
