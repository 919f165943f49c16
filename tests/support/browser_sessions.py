"""A browser's side of a session: a cookie, and the token that its page sends with changes."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from tests.support.images import archive
from tests.support.service import Service, plain_client

COOKIE = "tangent_session"


def begin(client: httpx.Client, key: str, **headers: str) -> dict[str, Any]:
    """Send the key; have the client send the session's cookie from now on."""
    answer = client.post("/session", json={"key": key}, headers=headers)
    assert answer.status_code == 200, answer.text
    client.cookies.clear()  # the client's own jar would send it too
    client.headers["Cookie"] = answer.headers["set-cookie"].partition(";")[0]
    return answer.json()


@contextmanager
def signed_in(service: Service, key: str, *, changes: bool = True) -> Iterator[httpx.Client]:
    """Yield a client with a session of the key; with `changes`, it sends the token for them too."""
    with plain_client(service.url) as client:
        session = begin(client, key)
        if changes:
            client.headers["X-CSRF-Token"] = session["csrf_token"]
        yield client


def attributes(answer: httpx.Response) -> dict[str, str | None]:
    """Return the attributes of the only cookie that the answer sets, in lower case, and its value.

    An attribute without a value has None.
    """
    (header,) = answer.headers.get_list("set-cookie")
    first, *rest = [part.strip().partition("=") for part in header.split(";")]
    assert first[0] == COOKIE
    found: dict[str, str | None] = {name.lower(): value or None for name, _, value in rest}
    return found | {"value": first[2].strip('"')}


def upload(client: httpx.Client) -> httpx.Response:
    """Send a dataset of one image of a cat: a change."""
    files = {"file": ("a.zip", archive({"cat": 1}), "application/zip")}
    return client.post("/v1/datasets", files=files)
