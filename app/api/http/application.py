"""FastAPI behind the edge, which has the requests before any layer of the framework."""

from collections.abc import Callable

from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send


class Application(FastAPI):
    """The service as one ASGI application.

    The framework puts layers outside of all middleware, which answer failures, limit bodies and
    trace. The edge does all this, and a small prediction notices what they take.
    """

    def put_behind(self, edge: Callable[[ASGIApp], ASGIApp]) -> None:
        """Let every request go to the application that `edge` makes around the framework's own.

        Call this last: middleware cannot be added afterwards.
        """

        def made(framework: ASGIApp) -> ASGIApp:
            self._edge = edge(framework)
            return self._edge

        self.add_middleware(made)
        self.middleware_stack = self.build_middleware_stack()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request, past the layers outside of the edge; or run the lifespan."""
        if scope["type"] != "http":
            await super().__call__(scope, receive, send)
            return
        scope["app"] = self
        await self._edge(scope, receive, send)
