"""Spaces: the default exists from the start, new spaces are opened before the answer."""

from collections.abc import Callable

import pytest
from sqlalchemy import update

import tangent
from app.database.sessions import transaction
from app.database.tables import Space
from app.store import spaces
from tests.support.problems import problem
from tests.support.service import Service


def test_the_default_space_is_there_from_the_start(service: Service) -> None:
    space = service.client.get("/v1/spaces/default").json()
    opened = tangent.open_space(service.settings.backbone, service.settings.scope)
    assert (space["backbone"], space["scope"]) == (opened.backbone, opened.scope)
    assert space["fingerprint"] == opened.fingerprint
    assert space["image_size"] == opened.image_size
    assert space["parameters"] == {
        "total": sum(each.numel() for each in opened.model.parameters()),
        "tangent": opened.parameters_tangent,
    }
    assert (space["labels"], space["default_rule"]) == ([], "joint")
    assert space["engine"]["name"] == "readout"
    assert space["created_at"].endswith("Z")
    assert service.client.get("/v1/spaces").json()["data"] == [space]


def test_the_default_space_survives_a_restart_with_other_settings(
    serve: Callable[..., Service],
) -> None:
    first = serve()
    before = first.client.get("/v1/spaces/default").json()
    second = serve(data_dir=first.settings.data_dir, scope="head", backbone="vit_micro_32")
    assert second.client.get("/v1/spaces/default").json() == before


def test_a_space_shows_the_labels_known_in_it_and_no_deleted_ones(service: Service) -> None:
    body = {"name": "pets", "backbone": "resnet_micro_32", "scope": "head", "labels": ["owl"]}
    made = service.client.post("/v1/spaces", json=body)
    assert made.status_code == 201 and made.headers["location"] == "/v1/spaces/pets"
    assert made.json()["labels"] == made.json()["declared_labels"] == ["owl"]

    def labels() -> list[str]:
        return service.client.get("/v1/spaces/pets").json()["labels"]

    part = service.component({"cat": 3, "owl": 3}, space="pets")
    service.component({"dog": 3}, space="pets")
    assert labels() == ["cat", "dog", "owl"]
    assert service.client.get("/v1/spaces/default").json()["labels"] == []
    service.client.delete(f"/v1/components/{part}")
    assert labels() == ["dog", "owl"]


def test_declared_labels_and_scope_make_another_fingerprint(shared: Service) -> None:
    prints = set()
    for number, (scope, labels) in enumerate(
        [("head", []), ("head", ["a"]), ("last-block", []), ("head2toe", [])]
    ):
        body = {"name": f"n{number}", "backbone": "resnet_micro_32", "scope": scope}
        made = shared.client.post("/v1/spaces", json=body | {"labels": labels})
        assert made.status_code == 201, made.text
        prints.add(made.json()["fingerprint"])
        exact = scope != "last-block"
        assert made.json()["default_rule"] == ("joint" if exact else "average")
    assert len(prints) == 4


BASE = {"name": "new", "backbone": "resnet_micro_32", "scope": "head"}


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"name": "default"}, 409, "space_exists"),
        ({"name": "a/b"}, 422, "invalid_request"),
        ({"name": "x" * 65}, 422, "invalid_request"),
        ({"scope": "everything"}, 422, "unknown_scope"),
        ({"labels": [""]}, 422, "invalid_request"),
        ({"labels": ["a", "a "]}, 422, "invalid_request"),
        ({"labels": ["x" * 256]}, 422, "invalid_request"),
        ({"labels": [f"l{n}" for n in range(1001)]}, 422, "too_many_labels"),
        ({"default_rule": "weighted"}, 422, "invalid_request"),
        ({"default_rule": "discriminant", "scope": "last-block"}, 422, "rule_unavailable"),
    ],
)
def test_a_space_that_cannot_be_is_refused(
    shared: Service, change: dict, status: int, code: str
) -> None:
    problem(shared.client.post("/v1/spaces", json=BASE | change), status, code)
    problem(shared.client.get("/v1/spaces/new"), 404, "space_not_found")


def test_an_unknown_backbone_is_answered_with_the_nearest_names(shared: Service) -> None:
    answer = shared.client.post("/v1/spaces", json=BASE | {"backbone": "resnet_mikro_32"})
    document = problem(answer, 422, "unknown_backbone")
    assert "resnet_micro_32" in document["detail"]


def test_a_backbone_that_must_be_downloaded_says_so_where_there_is_no_network(
    shared: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    answer = shared.client.post("/v1/spaces", json=BASE | {"backbone": "resnet18.a1_in1k"})
    document = problem(answer, 503, "backbone_unavailable")
    assert "resnet18.a1_in1k" in document["detail"]


def test_a_space_whose_weights_are_others_now_does_not_answer(service: Service) -> None:
    service.component({"cat": 2})
    with transaction(service.state.sessions) as session:
        session.execute(update(Space).values(fingerprint="0" * 64))
    service.state.spaces.close()
    ready = service.client.get("/readyz")
    assert ready.status_code == 503
    assert not ready.json()["checks"]["space"]["ok"]
    assert ready.json()["checks"]["database"]["ok"]
    with pytest.raises(Exception, match="was made with fingerprint 0000"):
        _open_default(service)


def _open_default(service: Service) -> None:
    with transaction(service.state.reading) as session:
        service.state.spaces.of(spaces.get(session, "default"))


@pytest.mark.parametrize(
    ("backbone", "reason"),
    [("vit_micro_32", "for the class token alone"), ("resnet_micro_32", "has a rule")],
)
def test_a_space_tells_which_engine_serves_it_and_why(
    service: Service, backbone: str, reason: str
) -> None:
    body = {"name": "block", "backbone": backbone, "scope": "last-block"}
    assert service.client.post("/v1/spaces", json=body).status_code == 201
    found = service.client.get("/v1/spaces/block").json()["engine"]
    assert found["name"] == "rules"
    assert reason in found["reason"]
