"""The problem documents of error answers."""

from typing import Any

import httpx

MEMBERS = {"type", "title", "status", "detail", "instance", "code", "request_id"}


def problem(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """Return an error answer's document, after checking what every error answer must have."""
    assert answer.headers["content-type"] == "application/problem+json"
    document = answer.json()
    assert set(document) >= MEMBERS
    assert (answer.status_code, document["status"], document["code"]) == (status, status, code)
    assert document["instance"] == answer.request.url.path
    assert document["request_id"] == answer.headers["x-request-id"]
    assert len(document["detail"]) > 20 and len(document["detail"].split()) > 3
    return document
