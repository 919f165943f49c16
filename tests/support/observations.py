"""All that a client can read of a service, as one JSON value; and how two of these differ.

observed(service)             spaces, datasets, components, compositions, answers, receipts
differences(before, now)      [] if everything of before is there now, with the same values
"""

import hashlib
from collections.abc import Iterator
from typing import Any

import httpx

from tests.support.service import Service

NUMBERS = ("logit", "probability")


def observed(service: Service, images: list[str]) -> dict[str, Any]:
    """Return what the service shows of itself, and what it answers to the images (base64)."""
    client = service.client
    components = _listed(client, "components")
    compositions = _listed(client, "compositions")
    receipts = _listed(client, "receipts")
    selections: list[dict[str, Any]] = [{"composition": each["name"]} for each in compositions]
    selections += [
        {"components": [{"id": each["id"], "weight": 0.5}], "rule": "weighted"}
        | {"space": each["space"]}
        for each in components
    ]
    return {
        "spaces": _listed(client, "spaces"),
        "datasets": _datasets(client),
        "components": [each | _file(client, each["id"]) for each in components],
        "compositions": [each | _tag(client, each["name"]) for each in compositions],
        "answers": [_answer(client, images, each) for each in selections],
        "evaluations": _listed(client, "evaluations"),
        "receipts": receipts,
        "verifications": [_verified(client, each["id"]) for each in receipts],
        "head": _read(client, "receipts/head"),
        "key": _read(client, "receipts/key"),
    }


def _read(client: httpx.Client, path: str, **query: Any) -> Any:
    answer = client.get(f"/v1/{path}", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def _listed(client: httpx.Client, path: str) -> list[dict[str, Any]]:
    """Return every entry of a listing, over all its pages."""
    found: list[dict[str, Any]] = []
    query: dict[str, Any] = {"limit": 5}
    while True:
        page = _read(client, path, **query)
        found += page["data"]
        if not page["has_more"]:
            return found
        query["after"] = page["next"]


def _datasets(client: httpx.Client) -> list[dict[str, Any]]:
    """Return every dataset with its images, and with the SHA-256 of the bytes served of each."""
    found = []
    for each in _listed(client, "datasets"):
        path = f"datasets/{each['id']}"
        images = [
            image | {"served_sha256": _sha256(client, f"{path}/images/{image['id']}")}
            for image in _listed(client, f"{path}/images")
        ]
        found.append(_read(client, path) | {"images": images})
    return found


def _sha256(client: httpx.Client, path: str) -> str:
    answer = client.get(f"/v1/{path}")
    assert answer.status_code == 200, answer.text
    return hashlib.sha256(answer.content).hexdigest()


def _file(client: httpx.Client, component_id: str) -> dict[str, Any]:
    """Return what a component's download says of its bytes."""
    answer = client.get(f"/v1/components/{component_id}/delta")
    assert answer.status_code == 200, answer.text
    return {
        "served_sha256": hashlib.sha256(answer.content).hexdigest(),
        "served_bytes": len(answer.content),
        "served_etag": answer.headers["etag"],
    }


def _tag(client: httpx.Client, name: str) -> dict[str, Any]:
    answer = client.get(f"/v1/compositions/{name}")
    assert answer.status_code == 200, answer.text
    return {"served_etag": answer.headers["etag"]}


def _answer(client: httpx.Client, images: list[str], selection: dict[str, Any]) -> dict[str, Any]:
    """Return the selection with its answer or error code, without the times that it took."""
    body = {"images": [{"b64": each} for each in images], "top_k": 100} | selection
    answer = client.post("/v1/predictions", json=body)
    shown = answer.json()
    if answer.status_code != 200:
        return {"selection": selection, "status": answer.status_code, "code": shown["code"]}
    del shown["timing"]
    for result in shown["results"]:  # by label: ranks of near numbers may differ with the machine
        result["predictions"].sort(key=lambda each: each["label"])
    return {"selection": selection, "answer": shown}


def _verified(client: httpx.Client, receipt_id: str) -> dict[str, Any]:
    """Return a verification, without the list of what no check can see, which may grow."""
    answer = client.post(f"/v1/receipts/{receipt_id}/verify")
    assert answer.status_code == 200, answer.text
    shown = answer.json()
    del shown["checked"], shown["not_covered"]
    return shown


def differences(before: Any, now: Any, tolerance: float, where: str = "") -> Iterator[str]:
    """Yield the place of every value of `before` that is missing or another one `now`.

    Members of an object that came later are no difference. Logits and probabilities may differ by
    `tolerance`; with a tolerance, a probe may also have become impossible to repeat.
    """
    if isinstance(before, dict) and isinstance(now, dict):
        for name, value in before.items():
            if name not in now:
                yield f"{where}/{name} is missing"
            elif not (tolerance and _may_differ(name, value, now[name], tolerance)):
                yield from differences(value, now[name], tolerance, f"{where}/{name}")
    elif isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        for at, (one, other) in enumerate(zip(before, now, strict=True)):
            yield from differences(one, other, tolerance, f"{where}/{at}")
    elif (type(before), before) != (type(now), now):
        yield f"{where} was {before!r} and is {now!r}"


def _may_differ(name: str, before: Any, now: Any, tolerance: float) -> bool:
    if name == "probe_ok":
        return before is True and now is None
    return name in NUMBERS and abs(before - now) <= tolerance
