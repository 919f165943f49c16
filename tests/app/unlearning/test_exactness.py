"""Unlearning is exact: a service that deleted B answers, byte for byte, as one that never had it.

Service one trains A, B and C in each space, answers with all three, and deletes the Bs. Service
two trains A and C only. Labels overlap with the Bs, so that their traces would have a place to be.
"""

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tangent
from app.database.sessions import transaction
from app.inference.models import Model
from app.settings import Settings
from app.store import compositions
from tests.support.client import WAIT
from tests.support.images import image
from tests.support.service import KEY_FREE, Service, running

DATA = {
    "A": ({"cat": 4, "dog": 3}, 0),
    "B": ({"dog": 4, "owl": 3, "yak": 3}, 20),
    "C": ({"cow": 3, "owl": 4}, 40),
}
SPACES = {
    "default": None,
    "blocks": {"backbone": "resnet_micro_32", "scope": "last-block"},
    "declared": {"backbone": "vit_micro_32", "scope": "head2toe", "labels": ["cat", "emu"]},
}
WEIGHTS = {"A": 0.75, "B": 2.0, "C": -1.25}
ONLY_B = ("yak",)
CASES = [(space, rule) for space in SPACES for rule in ("joint", "average", "weighted")]
CASES += [(space, "discriminant") for space in SPACES if space != "blocks"]


@dataclass
class World:
    """One service and the ids of its components."""

    service: Service
    ids: dict[str, dict[str, str]]  # space -> A, B, C -> id

    def get(self, path: str) -> Any:
        answer = self.service.client.get(f"/v1/{path}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    def weighted(self, space: str, names: str) -> list[dict[str, Any]]:
        return [{"id": self.ids[space][name], "weight": WEIGHTS[name]} for name in names]

    def predictions(self, space: str, rule: str, names: str) -> dict[str, Any]:
        """Return the answer to eight images, of the named components by the rule."""
        fields = {"space": space, "rule": rule, "top_k": "100"}
        if rule == "weighted":
            fields["components"] = json.dumps(self.weighted(space, names))
        files = [
            ("images", (f"{n}.png", image(label, 90 + n), "image/png"))
            for n, label in enumerate(["cat", "dog", "owl", "cow", "yak", "emu", "elk", "fox"])
        ]
        answer = self.service.client.post("/v1/predictions", files=files, data=fields)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def selection(self, space: str, rule: str) -> compositions.Selection:
        given = None
        if rule == "weighted":
            given = [(part["id"], part["weight"]) for part in self.weighted(space, "AC")]
        with transaction(self.service.state.reading) as session:
            return compositions.resolve(session, space, None, given, rule)

    def model(self, space: str, rule: str) -> Model:
        chosen = self.selection(space, rule)
        return self.service.state.spaces.model(chosen.space, chosen.members, chosen.rule)

    def comparable(self, answer: Any) -> bytes:
        """Return the answer's bytes with names for ids, without times and versions made of ids."""
        text = json.dumps(answer)
        for components in self.ids.values():
            for name, component_id in components.items():
                text = text.replace(component_id, f"component {name}")
        # Other components are refinements, which every service makes by itself.
        text = re.sub(r'"(cmp|ds|ev)_[0-9a-f]+"', '"id"', text)
        return json.dumps(_timeless(json.loads(text))).encode()


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        timed = (
            "timing",
            "seconds",
            "etag",
            "created_at",
            "started_at",
            "finished_at",
            "updated_at",
        )
        return {key: _timeless(each) for key, each in value.items() if key not in timed}
    return [_timeless(each) for each in value] if isinstance(value, list) else value


def trained(service: Service, names: str) -> World:
    world = World(service, {})
    for space, body in SPACES.items():
        if body:
            made = service.client.post("/v1/spaces", json={"name": space} | body)
            assert made.status_code == 201, made.text
        parts = {name: service.component(*DATA[name], space=space) for name in names}
        world.ids[space] = parts
        for composition, components in (("all", "all"), ("picked", [*parts.values()])):
            if components != "all":
                components = [{"id": each} for each in components]
            body = {"space": space, "rule": "average", "components": components}
            put = service.client.put(f"/v1/compositions/{space}-{composition}", json=body)
            assert put.status_code == 201, put.text
    return world


@pytest.fixture(scope="module")
def worlds(
    tmp_path_factory: pytest.TempPathFactory, migrated: Path
) -> Iterator[tuple[World, World]]:
    """The service that deleted B, and the one that never had it."""
    folder = tmp_path_factory.mktemp("worlds")
    settings = []
    for name in ("deleted", "never"):
        shutil.copytree(migrated, folder / name)
        settings.append(Settings(data_dir=folder / name, device="cpu", threads=1, **KEY_FREE))
    with running(settings[0]) as first, running(settings[1]) as second:
        deleted, never = trained(first, "ABC"), trained(second, "AC")
        for space, rule in CASES:  # fills every cache with B in it
            answer = deleted.predictions(space, rule, "ABC")
            assert ONLY_B[0] in json.dumps(answer)
        for space in SPACES:
            gone = deleted.ids[space]["B"]
            dataset_id = deleted.get(f"components/{gone}")["dataset_id"]
            answer = first.client.delete(f"/v1/datasets/{dataset_id}?cascade=true")
            assert answer.status_code == 200, answer.text
            receipt = answer.json()["id"]
            assert first.client.post(f"/v1/receipts/{receipt}/verify").json()["ok"]
        yield deleted, never


def tensors(delta: tangent.Delta) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    """Return the bytes of every tensor of a composed delta, by name."""
    return {
        name: (str(each.dtype), tuple(each.shape), each.contiguous().numpy().tobytes())
        for name, each in delta.tensors().items()
    }


@pytest.mark.parametrize(("space", "rule"), CASES)
def test_the_composed_delta_is_the_same_bytes(worlds, space, rule):
    found = []
    for world in worlds:
        delta = world.service.state.engine.delta(world.model(space, rule))
        found.append((delta.labels, tensors(delta)))

    assert found[0] == found[1]
    assert found[0][0] == ("cat", "cow", "dog", "owl")


@pytest.mark.parametrize(("space", "rule"), CASES)
def test_the_files_alone_compose_to_the_same_bytes_in_any_order(worlds, space, rule):
    """The files on disk are composed by `tangent`, without the service's caches and rows."""
    found = []
    for world, names in zip(worlds, ("AC", "CA"), strict=True):
        parts, shas = [], []
        for name in names:
            component_id = world.ids[space][name]
            (key,) = world.service.state.blobs.keys(f"components/{component_id}")
            component = tangent.Component.load(world.service.state.blobs.path(key))
            parts.append((component, WEIGHTS[name] if rule == "weighted" else None))
            shas.append(world.get(f"components/{component_id}")["sha256"])
        opened = tangent.open_space(
            **{"backbone": "resnet_micro_32", "scope": "head2toe"} | _opening(space)
        )
        found.append(tensors(tangent.compose(opened, parts, rule, shas=shas)))

    assert found[0] == found[1]


def _opening(space: str) -> dict[str, Any]:
    fields = dict(SPACES[space] or {})
    return fields | ({"declared": tuple(fields.pop("labels"))} if "labels" in fields else {})


@pytest.mark.parametrize(("space", "rule"), CASES)
def test_the_logits_are_the_same_bytes(worlds, space, rule):
    found = []
    images = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), np.uint8)
    for world in worlds:
        passed = world.service.state.engine.run(world.model(space, rule), images)
        found.append(passed.logits.tobytes())

    assert found[0] == found[1]


@pytest.mark.parametrize(("space", "rule"), CASES)
def test_predictions_are_the_same_bytes(worlds, space, rule):
    found = [world.comparable(world.predictions(space, rule, "AC")) for world in worlds]

    assert found[0] == found[1]
    assert b'"logit"' in found[0] and b"component A" in found[0]


@pytest.mark.parametrize("composition", ["all", "picked"])
@pytest.mark.parametrize("space", SPACES)
def test_compositions_and_their_predictions_are_the_same_bytes(worlds, space, composition):
    name, found = f"{space}-{composition}", []
    for world in worlds:
        data = {"composition": name, "top_k": "100"}
        files = {"images": ("x.png", image("owl", 99), "image/png")}
        answer = world.service.client.post("/v1/predictions", files=files, data=data)
        shown = world.get(f"compositions/{name}")
        found.append(world.comparable([answer.json(), shown, answer.status_code]))

    assert found[0] == found[1]


@pytest.mark.parametrize("path", ["spaces", "components", "datasets", "compositions", "limits"])
def test_what_the_service_lists_is_the_same_bytes(worlds, path):
    found = [world.comparable(world.get(path)) for world in worlds]

    assert found[0] == found[1]
    assert not any(label.encode() in found[0] for label in ONLY_B)


def test_an_evaluation_made_afterwards_is_the_same_bytes(worlds):
    found = []
    for world in worlds:
        dataset_id = world.get(f"components/{world.ids['default']['A']}")["dataset_id"]
        answer = world.service.client.post(
            "/v1/evaluations", json={"dataset_id": dataset_id}, headers=WAIT
        )
        assert answer.status_code == 201, answer.text
        found.append(world.comparable(answer.json()))

    assert found[0] == found[1]


def test_the_components_are_the_same_files(worlds):
    found = []
    for world in worlds:
        urls = [
            f"/v1/components/{world.ids[space][name]}/delta" for space in SPACES for name in "AC"
        ]
        found.append([world.service.client.get(url).content for url in urls])

    assert found[0] == found[1]


def test_no_metric_and_no_file_name_reveals_the_deleted_component(worlds):
    deleted, never = worlds
    metrics = deleted.service.client.get("/metrics").text

    for space in SPACES:
        assert deleted.ids[space]["B"] not in metrics
    assert not any(label in metrics for label in ONLY_B)
    assert len(list(deleted.service.state.blobs.keys())) == len(
        list(never.service.state.blobs.keys())
    )
