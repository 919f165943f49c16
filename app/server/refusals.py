"""Answers of the connection itself, where no request reaches the application."""

import json
from http import HTTPStatus
from typing import Any

MEDIA_TYPE = "application/problem+json"


class HeadTooLarge(Exception):
    """A request's line and headers have more bytes than the service reads."""


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


def unreadable(error: Exception) -> bytes:
    """Return the answer to bytes that the parser refuses with this error."""
    if isinstance(error.__context__, HeadTooLarge):
        detail = f"the request's line and headers have {error.__context__}: send fewer or shorter"
        return refusal(431, "head_too_large", detail)
    said = str(error)
    if "Content-Length" in said and "Transfer-Encoding" in said:
        detail = "the request has Content-Length and Transfer-Encoding: send one of them"
        return refusal(400, "ambiguous_length", detail)
    detail = f"what came is no request of HTTP/1.1: {said[:200]}"
    return refusal(400, "malformed_request", detail)
