"""Joint compositions at a block scope, before and after their background refinement."""

from typing import Any

from tests.support.merging import made, predict
from tests.support.service import Service

SPACE = {"name": "blocks", "backbone": "vit_micro_32", "scope": "last-block"}
# With the penalty that a training chooses, the heads fit these images so well that the one-shot
# answer is the joint optimum to the last bit, and a refinement has nothing left to do.
PENALTY = {"l2": 0.1}


def stocked(service: Service, *counts: dict[str, int]) -> Service:
    assert service.client.post("/v1/spaces", json=SPACE).status_code == 201
    service.made = [trained(service, each) for each in counts]  # type: ignore
    return service


def trained(service: Service, counts: dict[str, int]) -> str:
    dataset = service.dataset(counts)
    return service.train(service.queued(dataset, "blocks", hyperparameters=PENALTY))


def ask(service: Service, **body: Any) -> dict[str, Any]:
    answer = predict(service, space="blocks", rule="joint", **body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def refined(service: Service, **body: Any) -> dict[str, Any]:
    """The answer once its refinement is ready."""
    made(service, ask(service, **body)["refinement"]["id"])
    return ask(service, **body)
