"""A client that calls an application in this thread: without sockets, other threads or waiting.

    with called_in_this_thread():
        client = DirectClient(app)
        client.get("/v1/datasets")

What the application hands to a pool of threads runs at once, so that a request takes its steps in
the same order every time.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import copy_context
from functools import partialmethod
from typing import Any
from unittest.mock import patch

import httpx


async def _run_sync(function: Callable[..., Any], *arguments: Any, **_options: Any) -> Any:
    return copy_context().run(function, *arguments)


@contextmanager
def called_in_this_thread() -> Iterator[None]:
    """Run in its own thread what an application hands to anyio's threads during the block."""
    with patch("anyio.to_thread.run_sync", _run_sync):
        yield


class DirectClient:
    """The requests of `httpx.Client` to an application; its exceptions become 500s."""

    def __init__(self, app: Any) -> None:
        self._loop = asyncio.new_event_loop()
        self._client = httpx.AsyncClient(
            transport=httpx.ASGITransport(app, raise_app_exceptions=False),
            base_url="http://127.0.0.1",
            trust_env=False,
        )

    def request(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        """Send a request; return its answer once the application has done with it."""
        return self._loop.run_until_complete(self._client.request(method, path, **arguments))

    get = partialmethod(request, "GET")
    put = partialmethod(request, "PUT")
    post = partialmethod(request, "POST")
    patch = partialmethod(request, "PATCH")
    delete = partialmethod(request, "DELETE")

    def close(self) -> None:
        """Close the event loop."""
        self._loop.close()
