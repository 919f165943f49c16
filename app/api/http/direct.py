"""A route past the framework's routing, parameters and exception handlers.

A small prediction takes less time than these do. The framework has the same route with the same
function, for the document and for its tests; the edge calls it here.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import Request, Response
from starlette.types import Receive, Scope, Send

from app.api.http import deps, problems
from app.api.http.auth import refusal
from app.api.http.scopes import ScopedRoute, check, needed_scope
from app.api.http.sending import has_begun
from app.errors import Forbidden


class DirectRoute:
    """An ASGI application that answers one route without parameters in its path."""

    def __init__(self, route: ScopedRoute, read: Callable[[Request], Awaitable[Any]]) -> None:
        """`read` reads what the route's function takes besides the parts, threads and ticket."""
        self._route, self._read, self._needed = route, read, needed_scope(route)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request, or the problem that it has."""
        scope["route"], scope["path_params"] = self._route, {}
        request = Request(scope, receive)
        try:
            await self._answer(request, send)
        except Exception as error:
            answer = None if has_begun(scope) else await problems.answer_to(request, error)
            if answer is None:
                raise
            await answer(scope, receive, send)

    async def _answer(self, request: Request, send: Send) -> None:
        try:
            check(request.state.caller, self._needed)
        except Forbidden as problem:
            await refusal(request.scope, problem)(request.scope, request.receive, send)
            return
        await deps.storable(request)
        parts = deps.parts(request)
        ticket = deps.ticket(request, parts)
        try:
            read, threads = await self._read(request), deps.threads(request)
            answer: Response = await self._route.endpoint(request, read, parts, threads, ticket)
            await answer(request.scope, request.receive, send)
        finally:
            ticket.finish()
