"""A simulated service of two API processes, and the model that its answers are held to.

The model knows of each acknowledged dataset which images it holds under which label, and of each
component from which dataset it was trained. The auditor is the algebra: whatever has happened, a
component's file has the bytes of a new training on the images that are left, and a composition's
logits are those of such components. A request whose process died, or whose answer was an error, may
or may not have happened; the state then decides, and has to be one of the two.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from uuid import uuid4

import torch
from fastapi import FastAPI
from hypothesis import event
from starlette.testclient import TestClient

import tangent
from app import images as decoding
from app.main import create_app, opened
from app.receipts.offline import check
from app.settings import Settings
from tests.support.faults import Dead, Fault, Plan
from tests.support.images import image, packed
from tests.support.service import KEY_FREE, Service
from tests.support.trainings import Trainings

SCOPE = "head"  # exact, and trained in milliseconds
GIVEN = KEY_FREE | {"device": "cpu", "threads": 1, "scope": SCOPE}
PROBE = [image("cat", 900), image("owl", 901)]
Images = dict[str, str]  # sha256 of an image -> its label


@cache
def application(which: int) -> FastAPI:
    """The application of one of the processes; its routes take a while to build."""
    return create_app(Settings(**GIVEN))


@dataclass
class Process:
    """One API process: its application and a client that speaks to it directly."""

    which: int
    settings: Settings

    def __post_init__(self) -> None:
        self.app = application(self.which)
        self.app.state.settings = self.settings
        self._context = opened(self.app, self.settings)
        self._context.__enter__()
        client = TestClient(self.app, raise_server_exceptions=False)  # a lifespan is not run
        self.service = Service(self.app, self.settings, "http://127.0.0.1")
        self.service.client.close()
        self.service.client = client

    def end(self) -> None:
        """Close what the process holds, as a clean stop does; a dead one has no effect."""
        with suppress(Dead):
            self._context.__exit__(None, None, None)
        self.service.client.close()


@dataclass
class Model:
    """The acknowledged state."""

    datasets: dict[str, Images] = field(default_factory=dict)
    components: dict[str, str] = field(default_factory=dict)  # id -> dataset
    compositions: dict[str, dict[str, Any]] = field(default_factory=dict)  # name -> body
    deleted: set[str] = field(default_factory=set)


class History:
    """Requests to one of two processes, and the audit of what they leave."""

    def __init__(self, folder: Path, migrated: Path, plan: Plan, trainings: Trainings) -> None:
        shutil.copytree(migrated, folder, dirs_exist_ok=True)
        self.plan, self.model, self.trainings = plan, Model(), trainings
        self.settings = Settings(**GIVEN, data_dir=folder)
        self.processes = [Process(which, self.settings) for which in range(2)]
        for process in self.processes:
            process.service.trainings = trainings
        self.acting = 0
        self.coming: tuple[int, Fault] | None = None  # strikes during the next request
        self.files: dict[str, bytes] = {}  # sha256 -> bytes of every image ever sent
        self.removed: set[str] = set()  # sha256 of the images that were deleted

    @property
    def service(self) -> Service:
        """The process that acts."""
        return self.processes[self.acting].service

    def close(self) -> None:
        """End both processes."""
        self.plan.clear()
        for process in self.processes:
            process.end()

    def restart(self, which: int) -> None:
        """End one process and start it again."""
        self.processes[which].end()
        self.plan.clear()
        self.processes[which] = Process(which, self.settings)
        self.processes[which].service.trainings = self.trainings

    def attempt(self, request: Callable[[], Any], *allowed: int) -> Any | None:
        """Return the JSON of an acknowledged answer; None where it may or may not have happened.

        A process that died is started again.
        """
        if self.coming is not None:
            self.plan.arm(*self.coming)
            self.coming = None
        try:
            answer = request()
        except Dead:
            answer = None
        struck, dead = self.plan.struck, self.plan.dead
        if struck:
            event(f"{self.plan.fault.name.lower()} at {self.plan.seen[-1]}")
        if dead:
            self.restart(self.acting)
        self.plan.clear()
        if answer is not None and not dead and answer.status_code in allowed:
            return answer.json() if answer.content else {}
        assert struck, f"{answer.status_code} without a fault: {answer.text}"
        if answer is not None and not dead:
            assert answer.status_code in (503, 507), answer.text
        return None

    # Requests

    def upload(self, contents: list[tuple[str, int]]) -> None:
        """Upload these images, each by its label and number."""
        expected = {}
        for label, number in contents:
            data = image(label, number)
            sha = hashlib.sha256(data).hexdigest()
            self.files[sha], expected[sha] = data, label
        files = {"file": ("images.zip", packed(contents), "application/zip")}
        before = set(self._ids("datasets"))
        self.attempt(lambda: self.service.client.post("/v1/datasets", files=files), 201)
        made = set(self._ids("datasets")) - before
        assert len(made) <= 1
        for dataset_id in made:  # acknowledged or not: a dataset that is there is there wholly
            self.model.datasets[dataset_id] = expected

    def train(self, dataset_id: str) -> None:
        """Queue a training and carry it out."""
        body = {"dataset_id": dataset_id}
        before = set(self._ids("components"))
        self.attempt(lambda: self.service.client.post("/v1/components", json=body), 202)
        for component_id in set(self._ids("components")) - before:
            self.model.components[component_id] = dataset_id
            self.service.train(component_id)

    def compose(self, name: str, rule: str, members: list[tuple[str, float]]) -> None:
        """Save a composition."""
        chosen = [
            {"id": each} | ({} if rule == "average" else {"weight": w}) for each, w in members
        ]
        body = {"rule": rule, "components": chosen}
        path = f"/v1/compositions/{name}"
        answer = self.attempt(lambda: self.service.client.put(path, json=body), 200, 201)
        found = self.service.client.get(path)
        if answer is not None:
            assert found.status_code == 200
        if found.status_code == 200:
            kept = found.json()
            known = self.model.compositions.get(name)
            as_sent = _members(kept["components"]) == _members(chosen) and kept["rule"] == rule
            if as_sent:
                self.model.compositions[name] = body
            else:
                assert answer is None and known is not None, "a composition nobody made"
        else:
            assert name not in self.model.compositions

    def delete(self, kind: str, identity: str) -> None:
        """Delete a dataset with its components, or a component."""
        path = f"/v1/{kind}/{identity}" + ("?cascade=true" if kind == "datasets" else "")
        answer = self.attempt(lambda: self.service.client.delete(path), 200)
        status = self.service.client.get(f"/v1/{kind}/{identity}").status_code
        assert status == 410 if answer is not None else status in (200, 410)
        if status == 410:
            self._forget(kind, identity)

    def delete_image(self, dataset_id: str, place: int) -> None:
        """Delete one image of a dataset."""
        listed = self._images(dataset_id)
        chosen = listed[place % len(listed)]
        path = f"/v1/datasets/{dataset_id}/images/{chosen['id']}"
        answer = self.attempt(lambda: self.service.client.delete(path), 200)
        left = {each["sha256"] for each in self._images(dataset_id)}
        expected = {each["sha256"] for each in listed} - {chosen["sha256"]}
        assert left == expected or (answer is None and len(left) == len(listed))
        if left == expected:
            del self.model.datasets[dataset_id][chosen["sha256"]]
            self.removed.add(chosen["sha256"])

    def relabel(self, dataset_id: str, old: str, new: str) -> None:
        """Rename a label, which merges it with one that has the name already."""
        path, body = f"/v1/datasets/{dataset_id}/labels", {"rename": {old: new}}
        answer = self.attempt(lambda: self.service.client.post(path, json=body), 200)
        found = {each["label"] for each in self._images(dataset_id)}
        assert old not in found if answer is not None else True
        if old not in found:
            held = self.model.datasets[dataset_id]
            self.model.datasets[dataset_id] = {
                sha: new if label == old else label for sha, label in held.items()
            }

    # Audit

    def audit(self) -> None:
        """Finish what is queued, then compare everything with the model and with the algebra."""
        self._train_what_is_queued()
        for process in self.processes:
            self.acting = self.processes.index(process)
            self._compare_rows()
        expected = self._files_are_those_of_new_trainings()
        for which in range(len(self.processes)):
            self.acting = which
            self._answers_are_those_of(expected)
        self._ledger_is_whole()
        self._no_file_is_left_over()

    def _train_what_is_queued(self) -> None:
        for component_id in self._ids("components"):
            row = self._get(f"components/{component_id}")
            if row["status"] == "queued" or row.get("retraining"):
                self.service.train(component_id)

    def _compare_rows(self) -> None:
        assert set(self._ids("datasets")) == set(self.model.datasets)
        assert set(self._ids("components")) == set(self.model.components)
        for dataset_id, held in self.model.datasets.items():
            listed = self._images(dataset_id)
            assert {each["sha256"]: each["label"] for each in listed} == held
            for each in listed:
                path = f"/v1/datasets/{dataset_id}/images/{each['id']}"
                assert self.service.client.get(path).content == self.files[each["sha256"]]
        for gone in self.model.deleted:
            kind = "datasets" if gone.startswith("ds") else "components"
            assert self.service.client.get(f"/v1/{kind}/{gone}").status_code == 410

    def _files_are_those_of_new_trainings(self) -> dict[str, tuple[tangent.Component, str]]:
        """Return a new training's component and SHA-256 for every component."""
        trained = {}
        for component_id, dataset_id in self.model.components.items():
            row = self._get(f"components/{component_id}")
            assert row["status"] == "ready", row
            held = self.model.datasets[dataset_id]
            component, sha = self._trained([(held[sha], self.files[sha]) for sha in sorted(held)])
            assert row["sha256"] == sha, "other bytes than a training on the images that are left"
            sent = self.service.client.get(f"/v1/components/{component_id}/delta").content
            assert hashlib.sha256(sent).hexdigest() == sha
            trained[component_id] = component, sha
        return trained

    def _trained(self, files: list[tuple[str, bytes]]) -> tuple[tangent.Component, str]:
        scratch = self.settings.data_dir.parent / f"new-{uuid4().hex}"
        scratch.mkdir()
        settings = tangent.Hyperparameters.resolve(SCOPE, {})
        made = self.trainings.train(
            self.space, files, settings, seed=0, limits=self.settings, scratch=scratch
        )
        return tangent.Component.load(made.path), made.sha256

    @property
    def space(self) -> tangent.Space:
        """The default space, opened by the process that acts."""
        return self.service.state.engine.open(self.settings.backbone, SCOPE, ())

    def _answers_are_those_of(self, trained: dict[str, tuple[tangent.Component, str]]) -> None:
        for name, body in self.model.compositions.items():
            members = body["components"]
            shown = self._get(f"compositions/{name}")
            assert {each["id"] for each in shown["components"]} == {each["id"] for each in members}
            if members:
                self._answer_is_that_of(name, body, trained)

    def _answer_is_that_of(
        self, name: str, body: dict[str, Any], trained: dict[str, tuple[tangent.Component, str]]
    ) -> None:
        members = sorted(body["components"], key=lambda each: each["id"])
        parts = [(trained[each["id"]][0], each.get("weight")) for each in members]
        shas = [trained[each["id"]][1] for each in members]
        delta = tangent.compose(self.space, parts, body["rule"], shas=shas)
        inputs = [self.space.preprocess(decoding.decode(data, self.settings)) for data in PROBE]
        logits = self.space.logits(torch.stack(inputs), delta)
        expected = [dict(zip(delta.labels, row.tolist(), strict=True)) for row in logits]
        files = [("images", (f"{n}.png", data, "image/png")) for n, data in enumerate(PROBE)]
        query = {"composition": name, "return": "logits", "top_k": "1000"}
        answer = self.service.client.post("/v1/predictions", files=files, data=query)
        assert answer.status_code == 200, answer.text
        found = [
            {each["label"]: each["logit"] for each in result["predictions"]}
            for result in answer.json()["results"]
        ]
        assert found == expected, f"composition {name}"

    def _ledger_is_whole(self) -> None:
        receipts = list(self._pages("receipts"))
        assert check(receipts, {}) == []
        for receipt in receipts[-3:]:
            path = f"/v1/receipts/{receipt['id']}/verify"
            verified = self.service.client.post(path).json()
            assert verified["ok"], json.dumps(verified)

    def _no_file_is_left_over(self) -> None:
        """Restart both processes; then every file is named by a row."""
        for which in range(len(self.processes)):
            self.restart(which)
        blobs = self.service.state.blobs
        found = {key.split("/")[1].split(".")[0] for key in blobs.keys()}  # noqa: SIM118
        assert found <= set(self.model.datasets) | set(self.model.components)
        assert not list(blobs.scratch.iterdir())
        stored = [blobs.path(key).read_bytes() for key in blobs.keys("datasets")]
        assert len(stored) == len(self.model.datasets)
        for sha in self.removed:
            assert not [data for data in stored if self.files[sha] in data], "a deleted image"
        quarantine = self.settings.data_dir / "quarantine"
        assert not [path for path in quarantine.rglob("*") if path.is_file()]

    # The service as it is

    def _forget(self, kind: str, identity: str) -> None:
        gone = {identity}
        if kind == "datasets":
            gone |= {c for c, dataset in self.model.components.items() if dataset == identity}
            self.removed |= self.model.datasets.pop(identity).keys()
        for component_id in gone & set(self.model.components):
            del self.model.components[component_id]
        for body in self.model.compositions.values():
            body["components"] = [each for each in body["components"] if each["id"] not in gone]
        self.model.deleted |= gone

    def _get(self, path: str) -> Any:
        answer = self.service.client.get(f"/v1/{path}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    def _pages(self, path: str) -> Iterator[dict[str, Any]]:
        after = ""
        while True:
            page = self._get(f"{path}?limit=100{after}")
            yield from page["data"]
            if not page["has_more"]:
                return
            after = f"&after={page['next']}"

    def _ids(self, kind: str) -> list[str]:
        return [each["id"] for each in self._pages(kind)]

    def _images(self, dataset_id: str) -> list[dict[str, Any]]:
        return list(self._pages(f"datasets/{dataset_id}/images"))


def _members(components: list[dict[str, Any]]) -> set[tuple[str, float | None]]:
    return {(each["id"], each.get("weight")) for each in components}


@contextmanager
def simulated(folder: Path, migrated: Path, plan: Plan, trainings: Trainings) -> Iterator[History]:
    """Hold a history whose processes end with the block."""
    history = History(folder, migrated, plan, trainings)
    try:
        yield history
    finally:
        history.close()
