"""A space on the finer grid of earlier versions keeps it; a new space has the coarser one."""

import json

import numpy as np
import pytest
import torch
from sqlalchemy import update

import tangent
from app.database.sessions import transaction
from app.database.tables import Space
from app.store import components, spaces
from tangent.backbones.features import FINE
from tests.support.client import delete, predict
from tests.support.service import Service

BACKBONE = "resnet_micro_32"


def older(scope: str) -> tangent.Space:
    return tangent.Space(tangent.load_backbone(BACKBONE), scope, grid=FINE)


def written_by_an_earlier_version(service: Service) -> tangent.Space:
    """Give the default space the fingerprint that an earlier version gave it."""
    space = older(service.settings.scope)
    with transaction(service.state.sessions) as session:
        session.execute(update(Space).values(fingerprint=space.fingerprint))
    return space


def part_of(service: Service, component_id: str) -> tangent.Component:
    (key,) = service.state.blobs.keys(f"components/{component_id}")
    return tangent.Component.load(service.state.blobs.path(key))


@pytest.mark.parametrize("scope", ["head", "head2toe"])
def test_components_of_both_kinds_answer_each_in_their_space(serve, scope):
    service = serve(scope=scope)
    space = written_by_an_earlier_version(service)
    made = {"name": "new", "backbone": BACKBONE, "scope": scope}
    assert service.client.post("/v1/spaces", json=made).status_code == 201
    ids = {
        name: [service.component({"cat": 3, "dog": 3}, start, name) for start in (0, 10)]
        for name in ("default", "new")
    }

    old, new = (part_of(service, ids[name][0]) for name in ("default", "new"))

    assert (old.fingerprint, old.grid) == (space.fingerprint, None)
    assert new.fingerprint == tangent.open_space(BACKBONE, scope).fingerprint != old.fingerprint
    assert new.grid is not None and isinstance(old.statistics.triangle, torch.Tensor)
    parts = [part_of(service, each) for each in ids["default"]]
    shas = [
        service.client.get(f"/v1/components/{each}").json()["sha256"] for each in ids["default"]
    ]
    delta = tangent.compose(space, [(part, None) for part in parts], "joint", shas=shas)
    pixels = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)
    expected = space.logits(space.preprocess.normalize(torch.from_numpy(pixels)), delta)
    model = service.state.spaces.model(*rows(service, "default", ids["default"]), "joint")
    assert np.array_equal(service.state.engine.run(model, pixels).logits, expected.numpy())
    for name in ("default", "new"):
        delete(service, f"components/{ids[name][0]}")
        assert predict(service, space=name).status_code == 200
    with pytest.raises(tangent.errors.FingerprintMismatch):
        space.check(new)


def rows(service: Service, name: str, ids: list[str]):
    with transaction(service.state.sessions) as session:
        return spaces.get(session, name), [(components.get(session, each), None) for each in ids]


@pytest.mark.parametrize("scope", ["head", "head2toe"])
def test_a_fingerprint_finds_the_grid_that_it_was_made_with(scope):
    new, old = tangent.open_space(BACKBONE, scope), older(scope)
    assert json.dumps(new.stored_grid) != "null" and old.stored_grid is None

    for made in (new, old):
        found = tangent.open_space(BACKBONE, scope, fingerprint=made.fingerprint)
        assert found.fingerprint == made.fingerprint
        assert torch.equal(found.grid.steps, made.grid.steps)

    assert tangent.open_space(BACKBONE, scope, fingerprint="0" * 64).fingerprint == new.fingerprint
