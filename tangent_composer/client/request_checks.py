"""Checks of what a request is made from: the address, the key, and what can be written at all."""

from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from tangent_composer.client.errors import BadInput, UnexpectedAnswer


@contextmanager
def sendable() -> Iterator[None]:
    """Turn what cannot be written as a request into an error with the remedy.

    Raises:
        BadInput: a text, a number or a path cannot be sent.
        UnexpectedAnswer: what came back cannot be read.
    """
    try:
        yield
    except UnicodeEncodeError:
        raise BadInput(
            "not_utf8", "a text has bytes that are not in UTF-8", "write it in UTF-8"
        ) from None
    except (httpx.InvalidURL, TypeError, ValueError) as error:
        raise BadInput(
            "cannot_send",
            f"this cannot be sent ({error})",
            "give ids as the service has them, finite numbers, and values that JSON has",
        ) from None
    except httpx.DecodingError as error:
        raise UnexpectedAnswer("unexpected_answer", f"the answer is damaged ({error})") from None


def checked_address(url: str) -> str:
    """Return the address without a slash or /v1 at its end.

    Raises:
        BadInput: it is none of HTTP.
    """
    address = url.strip().rstrip("/").removesuffix("/v1").rstrip("/")
    try:
        parts = httpx.URL(address)
        is_one = parts.scheme in ("http", "https") and bool(parts.host)
        is_one = is_one and not parts.query and not parts.fragment
    except (httpx.InvalidURL, ValueError):
        is_one = False
    if not is_one:
        raise BadInput(
            "bad_address",
            f"{url!r} is no address of a service",
            "give one as http://127.0.0.1:8000",
        )
    return address


def checked_key(api_key: str) -> str:
    """Return the key.

    Raises:
        BadInput: it cannot be one.
    """
    if api_key.isascii() and api_key.isprintable() and api_key == api_key.strip():
        return api_key
    raise BadInput(
        "bad_key",
        "the API key has white space around it, or characters that no key has",
        "copy it again from where it was made",
    )
