"""Answers of the connection itself, where no request reaches the application."""

import json
from http import HTTPStatus
from typing import Any

MEDIA_TYPE = "application/problem+json"


class HeadTooLarge(Exception):
    """A request's line and headers have more bytes than the service reads."""


class NotServed(Exception):
    """A request is of a kind that no application can answer; the text says why."""


def refusal(status: int, code: str, detail: str, **headers: Any) -> bytes:
    """Return the bytes of an answer with a problem, after which the connection closes."""
    document = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status}
    body = json.dumps(document | {"detail": detail, "code": code}).encode()
    lines = {"Content-Type": MEDIA_TYPE, "Content-Length": len(body)} | headers
    head = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}"]
    head += [f"{name.replace('_', '-')}: {value}" for name, value in lines.items()]
    return "\r\n".join([*head, "Connection: close", "", ""]).encode() + body


def too_many_connections() -> bytes:
    """Return the answer to a client beyond the bounds."""
    detail = "the service has as many connections as it takes: close some, or try again later"
    return refusal(503, "too_many_connections", detail, Retry_After=5)


def head_too_large(most: int) -> bytes:
    """Return the answer to a head, or a trailer, of more than `most` bytes."""
    detail = f"the request's line and headers have more than {most} bytes: send fewer or shorter"
    return refusal(431, "head_too_large", detail)


def unreadable(error: Exception, most: int) -> bytes:
    """Return the answer to bytes that the parser refuses; `most` bytes of a head are read."""
    cause = error.__context__
    if isinstance(cause, HeadTooLarge):
        return head_too_large(most)
    said = str(cause if isinstance(cause, NotServed) else error)
    if "Content-Length" in said and "Transfer-Encoding" in said:
        detail = "the request has Content-Length and Transfer-Encoding: send one of them"
        return refusal(400, "ambiguous_length", detail)
    detail = f"what came is no request of HTTP/1.1: {said[:200]}"
    return refusal(400, "malformed_request", detail)
