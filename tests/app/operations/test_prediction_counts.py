"""The metrics of predictions count each request once, with all of its time."""

import base64
import re

import pytest

from app.api.http.leased_answers import LeasedAnswer
from app.api.http.thread_pools import PredictionTurns
from tests.support.client import compose
from tests.support.images import image
from tests.support.service import Service

SCOPE = "head"
PNG = image("cat", 90)
DURATION = r"^tangent_prediction_duration_seconds_%s (\S+)$"


def ask(service: Service) -> None:
    """Ask for a prediction by each protocol."""
    png = {"Content-Type": "image/png"}
    assert service.client.post("/v1/predictions", content=PNG, headers=png).status_code == 200
    data = [base64.b64encode(PNG).decode()]
    tensor = {"name": "images", "datatype": "BYTES", "shape": [1], "data": data}
    answer = service.client.post("/v2/models/all/infer", json={"inputs": [tensor]})
    assert answer.status_code == 200, answer.text


def duration(service: Service, of: str) -> float:
    """Return the `sum` or `count` of the seconds of predictions."""
    text = service.client.get("/metrics").text
    found = re.search(DURATION % of, text, re.MULTILINE)
    return float(found[1]) if found else 0.0


def test_a_request_counts_once_with_the_waiting_for_its_turn(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.component({"cat": 2, "dog": 2})
    compose(service, "all")
    take_turn, send = PredictionTurns._take_turn, LeasedAnswer.__call__

    async def take_late(turns: PredictionTurns, share: object) -> float:
        return await take_turn(turns, share) + 1000.0

    async def send_again(answer: LeasedAnswer, *asgi: object) -> None:
        if answer.make is not None:  # as if the lease had ended meanwhile
            answer.made = await answer.make()
        await send(answer, *asgi)

    monkeypatch.setattr(PredictionTurns, "_take_turn", take_late)
    monkeypatch.setattr(LeasedAnswer, "__call__", send_again)
    ask(service)
    assert duration(service, "count") == 2
    assert 2000 < duration(service, "sum") < 2100
