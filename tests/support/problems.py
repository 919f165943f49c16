"""What every error answer must be."""

from typing import Any

import httpx

MEMBERS = {"type", "title", "status", "detail", "instance", "code", "request_id"}


def problem(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The document of an error answer, once all that every one must have was checked."""
    assert answer.headers["content-type"] == "application/problem+json"
    document = answer.json()
    assert set(document) >= MEMBERS
    assert (answer.status_code, document["status"], document["code"]) == (status, status, code)
    assert document["instance"] == answer.request.url.path
    assert document["request_id"] == answer.headers["x-request-id"]
    assert len(document["detail"].split()) > 3
    return document
