"""Derived components without a training worker: requested over HTTP, made in this process."""

import base64
from typing import Any

import httpx

from app.database.sessions import transaction
from app.store import components, spaces
from tests.support.images import image
from tests.support.service import Service
from tests.support.trainings import saved
from training_worker import deriving


def ask(service: Service, operator: str, *parents: Any, **body: Any) -> httpx.Response:
    """Request a derivation from ids, or ids with their weights; return the answer."""
    given = [
        {"id": each} if isinstance(each, str) else {"id": each[0], "weight": each[1]}
        for each in parents
    ]
    body = {"operator": operator, "parents": given} | body
    return service.client.post("/v1/components/derive", json=body)


def queued(service: Service, operator: str, *parents: Any, **body: Any) -> str:
    """Queue a derived component; return its id."""
    answer = ask(service, operator, *parents, **body)
    assert answer.status_code == 202, answer.text
    return answer.json()["id"]


def derived(service: Service, operator: str, *parents: Any, **body: Any) -> str:
    """Make a derived component; return its id."""
    return made(service, queued(service, operator, *parents, **body))


def made(service: Service, component_id: str) -> str:
    """Do for a queued derivation what the training worker does; return its id."""
    state = service.state
    with transaction(state.sessions) as session:
        row = components.start(session, component_id, executor_id="test")
        assert row is not None
        plan, space = deriving.plan(session, row), spaces.get(session, row.space)
    opened, news = state.engine.opened(state.spaces.key(space)), []
    scratch = state.blobs.scratch_path(component_id)
    scratch.mkdir()
    fitted = deriving.make(plan, opened, state.blobs, service.settings, scratch, news.append)
    assert all(each.step > 0 for each in news)
    service.publish(component_id, saved(fitted, scratch))
    return component_id


def show(service: Service, component_id: str) -> dict[str, Any]:
    return service.client.get(f"/v1/components/{component_id}").json()


def predict(service: Service, **body: Any) -> httpx.Response:
    images = [{"b64": base64.b64encode(image(x, 90)).decode()} for x in ("cat", "dog", "cow")]
    body = {"images": images, "top_k": 10, "return": ["logits"]} | body
    return service.client.post("/v1/predictions", json=body)


def logits(answer: httpx.Response) -> list[dict[str, float]]:
    assert answer.status_code == 200, answer.text
    found = [result["predictions"] for result in answer.json()["results"]]
    return [{each["label"]: each["logit"] for each in ranked} for ranked in found]


def by_name(service: Service, *ids: str, rule: str = "average") -> httpx.Response:
    return predict(service, components=[{"id": each} for each in ids], rule=rule)


def imported(service: Service, data: bytes, name: str = "brought") -> httpx.Response:
    files = {"file": (f"{name}.safetensors", data, "application/octet-stream")}
    return service.client.post(
        "/v1/components/import", files=files, data={"allow_duplicate": "true"}
    )
