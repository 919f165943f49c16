"""The scope that a key needs for each route below /v1, in one table.

    router = APIRouter(prefix="/spaces", route_class=ScopedRoute)

A route that the table lacks cannot be defined, and a router with a route of another class not be
included.
"""

from collections.abc import Callable, Coroutine
from functools import cached_property
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute

from app.access.callers import Caller
from app.api.http import leased_answers
from app.api.http.auth import refusal
from app.api.http.json_bodies import JsonRequest
from app.api.http.query_names import names_of, without_empty
from app.errors import Forbidden

PREFIX = "/v1"
ANY = "any"  # in the table: a key of whatever scope may
SCOPES = {
    "GET /audit": "admin",
    "GET /batch-predictions": "read",
    "POST /batch-predictions": "predict",
    "GET /batch-predictions/{batch_prediction_id}": "read",
    "DELETE /batch-predictions/{batch_prediction_id}": "predict",
    "POST /batch-predictions/{batch_prediction_id}/cancel": "predict",
    "GET /batch-predictions/{batch_prediction_id}/results": "read",
    "GET /components": "read",
    "POST /components": "train",
    "POST /components/derive": "train",
    "POST /components/import": "train",
    "GET /components/{component_id}": "read",
    "PATCH /components/{component_id}": "train",
    "DELETE /components/{component_id}": "train",
    "POST /components/{component_id}/cancel": "train",
    "POST /components/{component_id}/retrain": "train",
    "POST /components/{component_id}/verify": "train",
    "GET /components/{component_id}/deletion-preview": "read",
    "GET /components/{component_id}/signature": "read",
    "GET /components/{component_id}/delta": "read",
    "GET /components/{component_id}/events": "read",
    "GET /compositions": "read",
    "GET /compositions/{name}": "read",
    "PUT /compositions/{name}": "train",
    "PATCH /compositions/{name}": "train",
    "DELETE /compositions/{name}": "train",
    "GET /compositions/{name}/privacy": "read",
    "POST /compositions/{name}/solve": "train",
    "GET /datasets": "read",
    "POST /datasets": "train",
    "GET /datasets/{dataset_id}": "read",
    "PATCH /datasets/{dataset_id}": "train",
    "DELETE /datasets/{dataset_id}": "train",
    "GET /datasets/{dataset_id}/deletion-preview": "read",
    "GET /datasets/{dataset_id}/images/{image_id}/deletion-preview": "read",
    "GET /datasets/{dataset_id}/privacy": "read",
    "PUT /datasets/{dataset_id}/privacy": "train",
    "GET /datasets/{dataset_id}/images": "read",
    "GET /datasets/{dataset_id}/label-report": "read",
    "POST /datasets/{dataset_id}/images": "train",
    "GET /datasets/{dataset_id}/images/{image_id}": "read",
    "PATCH /datasets/{dataset_id}/images/{image_id}": "train",
    "DELETE /datasets/{dataset_id}/images/{image_id}": "train",
    "POST /datasets/{dataset_id}/images/delete": "train",
    "POST /datasets/{dataset_id}/labels": "train",
    "GET /evaluations": "read",
    "POST /evaluations": "predict",
    "GET /evaluations/{evaluation_id}": "read",
    "GET /evaluations/{evaluation_id}/images": "read",
    "DELETE /evaluations/{evaluation_id}": "predict",
    "POST /evaluations/{evaluation_id}/cancel": "predict",
    "GET /images": "read",
    "POST /images/search": "read",
    "GET /keys": "admin",
    "POST /keys": "admin",
    "GET /keys/{key_id}": "admin",
    "DELETE /keys/{key_id}": "admin",
    "GET /limits": ANY,  # which every client reads first
    "POST /predictions": "predict",
    "GET /receipts": "read",
    "GET /receipts/checkpoint": "read",
    "GET /receipts/consistency": "read",
    "GET /receipts/head": "read",
    "GET /receipts/key": "read",
    "GET /receipts/{receipt_id}": "read",
    "GET /receipts/{receipt_id}/inclusion": "read",
    "POST /receipts/{receipt_id}/verify": "read",
    "GET /spaces": "read",
    "POST /spaces": "train",
    "GET /spaces/{name}": "read",
    "GET /spaces/{name}/card": "read",
    "PATCH /spaces/{name}": "train",
    "DELETE /spaces/{name}": "train",
    "GET /v2/models/{name}": "read",
    "GET /v2/models/{name}/ready": "read",
    "POST /v2/models/{name}/infer": "predict",
}


def scope_of(method: str, path: str) -> str:
    """Return the scope that a route needs, by its template with or without /v1."""
    return SCOPES[f"{method} {path.removeprefix(PREFIX)}"]


class ScopedRoute(APIRoute):
    """A route that refuses callers without its scope, before anything of the body is read.

    A parameter of its query that comes empty counts as not sent.
    Its answers leave under the lease as of which they were made.
    """

    @cached_property
    def query_names(self) -> tuple[str, ...]:
        """The names of its query parameters."""
        return names_of(self)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        needed = needed_scope(self)

        async def scoped(request: Request) -> Response:
            try:
                check(request.state.caller, needed)
            except Forbidden as problem:
                return refusal(request.scope, problem)
            query = request.scope["query_string"]
            request.scope["query_string"] = without_empty(query, self.query_names)
            if not isinstance(request, JsonRequest):
                request = JsonRequest(request.scope, request.receive)
            return leased_answers.bound(await handle(request), request)

        return scoped


def needed_scope(route: ScopedRoute) -> str:
    """Return the scope that a route needs."""
    assert route.methods is not None
    (method,) = route.methods
    return scope_of(method, route.path)


def checked(router: APIRouter) -> APIRouter:
    """Return the router, all of whose routes need a scope.

    Raises:
        TypeError: one of them does not.
    """
    for route in router.routes:
        if not isinstance(route, ScopedRoute):
            raise TypeError(f"{route} needs no scope: give its router route_class=ScopedRoute")
    return router


def check(caller: Caller, needed: str) -> None:
    """Refuse a caller without the scope.

    Raises:
        Forbidden: `scope_missing`, with the `scope`.
    """
    if needed != ANY and not caller.may(needed):
        has = ", ".join(sorted(caller.scopes))
        raise Forbidden(
            "scope_missing",
            f"key {caller.id} has scope {has} and this route needs {needed}: "
            "ask an administrator for a key with it",
            scope=needed,
        )
