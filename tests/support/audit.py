"""The audit of a history: rows, files, answers and receipts against the model and the algebra.

Whatever has happened, a component's file has the bytes of a new training on the images that are
left, and a composition's logits are those of such components.
"""

import hashlib
import json
from typing import Any
from uuid import uuid4

import torch

import tangent
from app.images import image_files as decoding
from app.inference.models import SpaceKey
from tangent_composer.receipts.offline import check
from tests.support.history import History
from tests.support.images import image
from tests.support.simulated_process import SCOPE

PROBE = [image("cat", 900), image("owl", 901)]
Trained = dict[str, tuple[tangent.Component, str]]  # by component: of a new training, with its hash


class Audit:
    """The comparison of everything that two processes show and hold."""

    def __init__(self, history: History) -> None:
        self.history, self.model = history, history.model

    @property
    def process(self):
        """The process that acts."""
        return self.history.process

    def run(self) -> None:
        """Finish what is queued, then compare everything with the model and with the algebra."""
        self._train_what_is_queued()
        for which in range(len(self.history.processes)):
            self.history.turn_to(which)
            self._compare_rows()
        expected = self._files_are_those_of_new_trainings()
        for which in range(len(self.history.processes)):
            self.history.turn_to(which)
            self._answers_are_those_of(expected)
        self._ledger_is_whole()
        self.history.set_clocks_right()  # by a wrong one, what a dead process left looks new
        self._no_file_is_left_over()

    def _train_what_is_queued(self) -> None:
        for component_id in self.process.ids("components"):
            row = self.process.get(f"components/{component_id}")
            if row["status"] == "queued" or row.get("retraining"):
                self.process.service.train(component_id)

    def _compare_rows(self) -> None:
        assert set(self.process.ids("datasets")) == set(self.model.datasets)
        assert set(self.process.ids("components")) == set(self.model.components)
        for dataset_id, held in self.model.datasets.items():
            listed = self.process.images(dataset_id)
            assert {each["sha256"]: each["label"] for each in listed} == held
            for each in listed:
                path = f"/v1/datasets/{dataset_id}/images/{each['id']}"
                assert (
                    self.process.service.client.get(path).content
                    == self.history.files[each["sha256"]]
                )
        for gone in self.model.deleted:
            kind = "datasets" if gone.startswith("ds") else "components"
            assert self.process.service.client.get(f"/v1/{kind}/{gone}").status_code == 410

    def _files_are_those_of_new_trainings(self) -> Trained:
        """Return a new training's component and SHA-256 for every component."""
        trained = {}
        for component_id in self.model.components:
            row = self.process.get(f"components/{component_id}")
            assert row["status"] == "ready", row
            held = self.history.images_of(component_id)
            component, sha = self._trained(
                [(held[sha], self.history.files[sha]) for sha in sorted(held)]
            )
            assert row["sha256"] == sha, "other bytes than a training on the images that are left"
            sent = self.process.service.client.get(f"/v1/components/{component_id}/delta").content
            assert hashlib.sha256(sent).hexdigest() == sha
            trained[component_id] = component, sha
        return trained

    def _trained(self, files: list[tuple[str, bytes]]) -> tuple[tangent.Component, str]:
        scratch = self.history.settings.data_dir.parent / f"new-{uuid4().hex}"
        scratch.mkdir()
        settings = tangent.Hyperparameters.resolve(SCOPE, {})
        made = self.history.trainings.train(
            self.space, files, settings, seed=0, limits=self.history.settings, scratch=scratch
        )
        return tangent.Component.load(made.path), made.sha256

    @property
    def space(self) -> tangent.Space:
        """The default space, opened by the process that acts."""
        settings = self.history.settings
        key = SpaceKey(settings.backbone, SCOPE, (), settings.precision)
        return self.process.service.state.engine.opened(key)

    def _answers_are_those_of(self, trained: Trained) -> None:
        for name, body in self.model.compositions.items():
            members = body["components"]
            shown = self.process.get(f"compositions/{name}")
            assert {each["id"] for each in shown["components"]} == {each["id"] for each in members}
            if members:
                self._answer_is_that_of(name, body, trained)

    def _answer_is_that_of(self, name: str, body: dict[str, Any], trained: Trained) -> None:
        members = sorted(body["components"], key=lambda each: each["id"])
        parts = [(trained[each["id"]][0], each.get("weight")) for each in members]
        shas = [trained[each["id"]][1] for each in members]
        delta = tangent.compose(self.space, parts, body["rule"], shas=shas)
        inputs = [
            self.space.preprocess(decoding.decode(data, self.history.settings)) for data in PROBE
        ]
        logits = self.space.logits(torch.stack(inputs), delta)
        expected = [dict(zip(delta.labels, row.tolist(), strict=True)) for row in logits]
        files = [("images", (f"{n}.png", data, "image/png")) for n, data in enumerate(PROBE)]
        query = {"composition": name, "return": "logits", "top_k": "1000"}
        answer = self.process.service.client.post("/v1/predictions", files=files, data=query)
        assert answer.status_code == 200, answer.text
        found = [
            {each["label"]: each["logit"] for each in result["predictions"]}
            for result in answer.json()["results"]
        ]
        assert found == expected, f"composition {name}"

    def _ledger_is_whole(self) -> None:
        receipts = list(self.process.pages("receipts"))
        assert check(receipts, {}) == []
        for receipt in receipts[-3:]:
            path = f"/v1/receipts/{receipt['id']}/verify"
            verified = self.process.service.client.post(path).json()
            assert verified["ok"], json.dumps(verified)

    def _no_file_is_left_over(self) -> None:
        """Restart both processes; then every file is named by a row."""
        for which in range(len(self.history.processes)):
            self.history.restart(which)
        blobs = self.process.service.state.blobs
        found = {key.split("/")[1].split(".")[0] for key in blobs.keys()}  # noqa: SIM118
        assert found <= set(self.model.datasets) | set(self.model.components)
        assert not list(blobs.scratch.iterdir())
        stored = [blobs.path(key).read_bytes() for key in blobs.keys("datasets")]
        assert len(stored) == len(self.model.datasets)
        for sha in self.history.removed:
            assert not [data for data in stored if self.history.files[sha] in data], (
                "a deleted image"
            )
        quarantine = self.history.settings.data_dir / "quarantine"
        assert not [path for path in quarantine.rglob("*") if path.is_file()]
