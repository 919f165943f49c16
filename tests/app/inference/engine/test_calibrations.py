"""A selection is calibrated once, whatever is deleted of others meanwhile."""

from typing import Any

import pytest

from app.inference.engine import calibrations
from tests.support.images import image
from tests.support.service import Service

PNG = {"Content-Type": "image/png"}


class Made:
    """Counts the calibrations that are made; `meanwhile` is called in the next one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.models: list[Any] = []
        self.meanwhile: Any = None
        made = calibrations.made

        def counted(space: Any, model: Any, *given: Any) -> Any:
            self.models.append(model)
            if self.meanwhile is not None:
                call, self.meanwhile = self.meanwhile, None
                call()
            return made(space, model, *given)

        monkeypatch.setattr(calibrations, "made", counted)


def judged(service: Service, **query: str) -> dict[str, Any]:
    answer = service.client.post(
        "/v1/predictions", content=image("cat", 900), headers=PNG, params=query
    )
    assert answer.status_code == 200, answer.text
    calibration: dict[str, Any] = answer.json()["calibration"]
    return calibration


def test_deletions_of_others_do_not_lose_a_calibration_in_the_making(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = service.component({"cat": 6, "dog": 6}), service.component({"cow": 4}, start=50)
    made = Made(monkeypatch)
    made.meanwhile = lambda: service.client.delete(f"/v1/components/{two}").raise_for_status()
    judged(service, components=one)
    judged(service, components=one)
    assert len(made.models) == 1


def test_a_deletion_of_its_own_loses_it(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = service.component({"cat": 6, "dog": 6}), service.component({"cow": 4}, start=50)
    made = Made(monkeypatch)
    made.meanwhile = lambda: service.client.delete(f"/v1/components/{two}").raise_for_status()
    assert judged(service)["images"] == 12
    both, alone = made.models
    assert (len(both.parts), len(alone.parts)) == (2, 1)
    assert judged(service, components=one)["images"] == 12
    assert len(made.models) == 2


def test_one_that_another_call_has_made_meanwhile_is_not_made_again(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.component({"cat": 6, "dog": 6})
    made = Made(monkeypatch)
    judged(service)
    (model,) = made.models
    assert service.state.engine.calibrate_again(model)
    assert len(made.models) == 1
