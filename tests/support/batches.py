"""Batch predictions as a client sees them, and the files that they have."""

import csv
import io
import json
from typing import Any

import httpx

from tests.support.service import Service

PATH = "/v1/batch-predictions"


def begun(service: Service, **body: Any) -> str:
    """Queue the prediction of a dataset; return its path without /v1."""
    answer = service.client.post(PATH, json=body)
    assert answer.status_code == 202, answer.text
    assert answer.headers["location"] == f"{PATH}/{answer.json()['id']}"
    return f"batch-predictions/{answer.json()['id']}"


def sent(service: Service, file: bytes, **fields: str) -> httpx.Response:
    """Send an archive."""
    return service.client.post(PATH, files={"file": ("images.zip", file)}, data=fields)


def lines(service: Service, path: str) -> list[dict[str, Any]]:
    answer = service.client.get(f"/v1/{path}/results")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/jsonl"
    return [json.loads(line) for line in answer.text.splitlines()]


def rows(service: Service, path: str) -> list[dict[str, str]]:
    answer = service.client.get(f"/v1/{path}/results?format=csv")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    return list(csv.DictReader(io.StringIO(answer.text, newline="")))


def blobs(service: Service) -> list[str]:
    return list(service.state.blobs.keys("batch_predictions"))
