"""The OpenAPI 3.1 document, with additions to the routes' signatures."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from app.access.session_admission import CSRF_HEADER
from app.api.http.auth import GUARDED
from app.api.http.cookies import NAME as COOKIE
from app.api.http.openapi_bounds import add, tighten
from app.api.http.openapi_examples import add_examples, complete, examples_of, prefill
from app.api.http.openapi_names import rename
from app.api.http.openapi_types import add_types
from app.api.http.openapi_words import describe
from app.api.http.scopes import ANY, scope_of
from tangent_composer.schemas.batch_predictions import BatchPredictionIn
from tangent_composer.schemas.predictions import PredictionIn
from tangent_composer.schemas.problems import MEDIA_TYPE, ProblemOut

TITLE = "Tangent Composer"
DESCRIPTION = """
Serve image classifiers that can be added, weighted and subtracted.

Upload a **dataset**, have a **component** trained from it, and predict with any weighted selection
of components as one model in one forward pass. Deleting a component leaves nothing of it: the
service then answers as if it had never been trained, and a hash-chained **receipt** says what went.

1. `POST /v1/datasets` with an archive whose folders are the labels, and `train=true`
2. `GET /v1/components/{id}` until its status is `ready`
3. `POST /v1/predictions` with an image
4. `DELETE /v1/components/{id}`: unlearn

Every error is `application/problem+json` with a stable `code` and a sentence on what to do.
Lists are pages: ask for the next one with `?after=<next>`. Creating POSTs take an
`Idempotency-Key`.
"""
TAGS = [
    ("datasets", "Labelled images, as uploaded and validated."),
    ("images", "Where an image is held: by its bytes, or by its looks."),
    ("components", "Tangent vectors, each trained from one dataset, or derived from others."),
    ("compositions", "Named choices of components, weights and a rule."),
    ("predictions", "Images through a composition; nothing is stored."),
    ("evaluations", "A dataset through a composition: accuracy, per label, confusion."),
    ("batch-predictions", "All images of a dataset or an archive, as files of results."),
    ("privacy", "What private trainings spend of a dataset, and how much they may."),
    ("receipts", "What each deletion removed and invalidated, in a hash-chained ledger."),
    ("spaces", "Backbone, scope and preprocessing that components share."),
    ("session", "A browser's session: a cookie for a key."),
    ("keys", "API keys, with scopes, limits and an expiry; and what was done by them."),
    ("inference", "Compositions as models of the Open Inference Protocol, version 2."),
    ("service", "Limits, health and metrics."),
]
SCHEME = "ApiKey"
BEARER = {
    "type": "http",
    "scheme": "bearer",
    "description": "`tc_<id>_<secret>`, or the key in TANGENT_API_KEY; needed from the first key "
    "on. Operations name the scope that they need; `admin` includes the others.",
}
SESSION_SCHEME, CSRF_SCHEME = "Session", "CsrfToken"
SESSION = {
    "type": "apiKey",
    "in": "cookie",
    "name": COOKIE,
    "description": "of a browser that has sent a key to `POST /session`",
}
CSRF = {
    "type": "apiKey",
    "in": "header",
    "name": CSRF_HEADER,
    "description": "`csrf_token` of `GET /session`; needed beside the cookie for all but GET",
}
KEY_ANSWERS = {
    "401": "No key or session, a wrong key, or one that has expired or was revoked",
    "403": "The key lacks scope {scope}, or a change by a session lacks X-CSRF-Token",
    "429": "Too many requests or images of this key, or wrong keys of this address",
}
NO_PROBLEMS = ("/livez", "/readyz", "/metrics", "/v2", "/v2/health/live", "/v2/health/ready")
NO_DATABASE = ("/v1/limits",)
OUTAGES = {
    "503": "Not ready, busy, or an outage of database or disk: try again after Retry-After",
    "507": "The disk is full: try again when it has room",
}


def operation_id(route: APIRoute) -> str:
    """Return the operation's id: the tag and the route function's name, `datasets_upload`."""
    name = f"{route.tags[0]}_{route.name}" if route.tags else route.name
    return name.replace("-", "_")


def document(app: FastAPI) -> dict[str, Any]:
    """Return the application's document, made once."""
    if app.openapi_schema is None:
        made = get_openapi(
            title=app.title,
            version=app.version,
            openapi_version="3.1.0",
            summary=app.summary,
            description=app.description,
            license_info=app.license_info,
            contact={"name": TITLE},
            servers=[{"url": app.state.settings.prefix or "/", "description": "this service"}],
            tags=app.openapi_tags,
            routes=app.routes,
        )
        for parsed in (PredictionIn, BatchPredictionIn):  # by routes themselves, not by FastAPI
            add(made, parsed)
        tighten(made, app.state.settings)
        _describe_problems(made)
        _describe_keys(made, needed=app.state.settings.api_key is not None)
        add_types(made["components"]["schemas"])
        rename(made)
        complete(made["components"]["schemas"])
        prefill(made)
        describe(made)
        app.openapi_schema = made
    return app.openapi_schema


def _describe_keys(made: dict[str, Any], *, needed: bool) -> None:
    """Describe the scope that every operation with a caller needs, and the answers without it.

    Without a key in the settings, none is needed until the first one was made.
    """
    schemes = {SCHEME: BEARER, SESSION_SCHEME: SESSION, CSRF_SCHEME: CSRF}
    made["components"]["securitySchemes"] = schemes
    answer = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemOut"}}}
    for path, operations in made["paths"].items():
        if not path.startswith(GUARDED):
            continue
        for method, operation in operations.items():
            scope = scope_of(method.upper(), path)
            by_cookie = (SESSION_SCHEME,) if method == "get" else (SESSION_SCHEME, CSRF_SCHEME)
            ways = [(SCHEME,), by_cookie, *([] if needed else [()])]
            operation["security"] = [{name: [] for name in way} for way in ways]
            operation["x-required-scope"] = scope
            told = "Any key may." if scope == ANY else f"A key needs the scope `{scope}`."
            operation["description"] += f"\n\n{told}"
            for status, text in KEY_ANSWERS.items():
                if scope == ANY and status == "403":
                    continue
                content = {MEDIA_TYPE: answer[MEDIA_TYPE] | examples_of(status)}
                described = {"description": text.format(scope=scope), "content": content}
                operation["responses"].setdefault(status, described)


def _describe_problems(made: dict[str, Any]) -> None:
    """Describe every operation's error answers as problems, FastAPI's own 422 too."""
    for name in ("HTTPValidationError", "ValidationError"):
        made["components"]["schemas"].pop(name, None)
    add(made, ProblemOut)
    add_examples(made)
    answer = {"schema": {"$ref": "#/components/schemas/ProblemOut"}}
    for path, operations in made["paths"].items():
        if path in NO_PROBLEMS:
            continue
        for method, operation in operations.items():
            answers = operation["responses"]
            if "206" in answers:
                answers["416"] = {"description": "The file has no part that Range asks for"}
            answers["default"] = {"description": "Any other problem"}
            answers.update(_outages(path, method))
            for status, found in answers.items():
                if status == "default" or status >= "400":
                    found["content"] = {MEDIA_TYPE: answer | examples_of(status)}


def _outages(path: str, method: str) -> dict[str, Any]:
    """Return the answers that any use of the database or the disk can come to."""
    if path in NO_DATABASE:
        return {}
    header = {"description": "seconds until another try", "schema": {"type": "integer"}}
    statuses = ("503",) if method == "get" else ("503", "507")
    return {
        status: {"description": OUTAGES[status], "headers": {"Retry-After": dict(header)}}
        for status in statuses
    }
