"""Keys of a service, and clients that send them."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from tests.support.service import Service, plain_client


def made(service: Service, *scopes: str, **body: Any) -> dict[str, Any]:
    """Make a key with these scopes; return the answer, which has its `key`."""
    answer = service.client.post("/v1/keys", json={"name": "k", "scopes": scopes} | body)
    assert answer.status_code == 201, answer.text
    return answer.json()


def sending(service: Service, token: str | None) -> httpx.Client:
    """Return a client that sends this token, or none."""
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    return plain_client(service.url, headers)


@contextmanager
def by(service: Service, *scopes: str, **body: Any) -> Iterator[httpx.Client]:
    """Yield a client with a new key of these scopes."""
    with sending(service, made(service, *scopes, **body)["key"]) as client:
        yield client


def wait_for(read: Callable[[], Any], seconds: float = 20.0) -> Any:
    """Return what `read` returns once it is true."""
    end = time.monotonic() + seconds
    while not (found := read()):
        assert time.monotonic() < end
        time.sleep(0.02)
    return found
