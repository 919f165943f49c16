"""Derived components without a training worker: asked for over HTTP, made in this process."""

from typing import Any

import httpx
from living import Service

from app.store import components, spaces
from app.store.db import transaction
from training_worker import deriving


def ask(service: Service, operator: str, *parents: Any, **body: Any) -> httpx.Response:
    """The answer to a derivation; parents are ids, or ids with their weights."""
    given = [
        {"id": each} if isinstance(each, str) else {"id": each[0], "weight": each[1]}
        for each in parents
    ]
    asked = {"operator": operator, "parents": given} | body
    return service.client.post("/v1/components/derive", json=asked)


def queued(service: Service, operator: str, *parents: Any, **body: Any) -> str:
    """A queued derived component; its id."""
    answer = ask(service, operator, *parents, **body)
    assert answer.status_code == 202, answer.text
    return answer.json()["id"]


def derived(service: Service, operator: str, *parents: Any, **body: Any) -> str:
    """A ready derived component; its id."""
    return made(service, queued(service, operator, *parents, **body))


def made(service: Service, component_id: str) -> str:
    """Do for a queued one what the training worker does; its id."""
    state = service.state
    with transaction(state.sessions) as session:
        row = components.start(session, component_id, executor_id="test")
        assert row is not None
        plan, space = deriving.plan(session, row), spaces.get(session, row.space)
    opened, news = state.engine.space(space), []
    fitted = deriving.make(plan, opened, state.blobs, service.settings, news.append)
    assert all(each.step > 0 for each in news)
    scratch = state.blobs.scratch_path(component_id)
    scratch.mkdir()
    service.publish(component_id, fitted, scratch)
    return component_id
