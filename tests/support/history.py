"""A simulated service of two API processes, and the model that its answers are held to.

The model knows of each acknowledged dataset which images it holds under which label, and of each
component from which dataset it was trained. A request whose process died, or whose answer was an
error, may or may not have happened; the state then decides, and has to be one of the two.
"""

import hashlib
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hypothesis import currently_in_test_context, event

from app.settings import Settings
from tests.support.clocks import Clock, set_by_hand
from tests.support.faults import Dead, Fault, Plan, injected
from tests.support.images import image, packed
from tests.support.service import Service
from tests.support.simulated_process import GIVEN, Process
from tests.support.trainings import Trainings

Images = dict[str, str]  # sha256 of an image -> its label


@dataclass
class Model:
    """The acknowledged state."""

    datasets: dict[str, Images] = field(default_factory=dict)
    components: dict[str, str | None] = field(default_factory=dict)  # id -> dataset
    imported: dict[str, Images] = field(default_factory=dict)  # id -> what its file is made of
    compositions: dict[str, dict[str, Any]] = field(default_factory=dict)  # name -> body
    deleted: set[str] = field(default_factory=set)


class History:
    """Requests to one of two processes, which keep the model."""

    def __init__(self, given: Settings, plan: Plan, trainings: Trainings, clock: Clock) -> None:
        self.plan, self.model, self.trainings = plan, Model(), trainings
        self.settings, self.clock, self.offsets = given, clock, [0.0, 0.0]
        self.acting = 0
        self.processes = [Process(which, self.settings) for which in range(2)]
        for process in self.processes:
            process.service.trainings = trainings
        self.coming: tuple[int, Fault] | None = None  # strikes during the next request
        self.struck = False  # whether one did during the last request
        self.files: dict[str, bytes] = {}  # sha256 -> bytes of every image ever sent
        self.removed: set[str] = set()  # sha256 of the images that were deleted

    @property
    def process(self) -> Process:
        """The process that acts."""
        return self.processes[self.acting]

    @property
    def service(self) -> Service:
        """Its service."""
        return self.process.service

    def turn_to(self, which: int) -> None:
        """Let this process act from now on, by its own clock."""
        self.acting = which
        self.clock.offset = self.offsets[which]

    def set_clock(self, seconds: float) -> None:
        """Let the clock of the acting process jump by so many seconds."""
        self.offsets[self.acting] += seconds
        self.turn_to(self.acting)

    def set_clocks_right(self) -> None:
        """Let both clocks show the real time again."""
        self.offsets = [0.0, 0.0]
        self.turn_to(self.acting)

    def close(self) -> None:
        """End both processes."""
        self.plan.clear()
        for process in self.processes:
            process.end()

    def restart(self, which: int) -> None:
        """End one process and start it again."""
        acting = self.acting
        self.turn_to(which)
        self.processes[which].end()
        self.plan.clear()
        self.processes[which] = Process(which, self.settings)
        self.processes[which].service.trainings = self.trainings
        self.turn_to(acting)

    def attempt(self, request: Callable[[], Any], *allowed: int) -> Any | None:
        """Return the JSON of an acknowledged answer; None where it may or may not have happened.

        A process that died is started again.
        """
        if self.coming is not None:
            self.plan.spared = self.processes[1 - self.acting].threads
            self.plan.arm(*self.coming)
            self.coming = None
        try:
            answer = request()
        except Dead:
            answer = None
        self.struck = struck = self.plan.struck
        dead = self.plan.dead
        if struck and currently_in_test_context():
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
        answer = self.attempt(lambda: self.service.client.post("/v1/datasets", files=files), 201)
        # Acknowledged or not: a dataset that is there is there wholly.
        for dataset_id in self._made("datasets", answer):
            self.model.datasets[dataset_id] = expected

    def train(self, dataset_id: str) -> None:
        """Queue a training and carry it out."""
        body = {"dataset_id": dataset_id}
        answer = self.attempt(lambda: self.service.client.post("/v1/components", json=body), 202)
        for component_id in self._made("components", answer):
            self.model.components[component_id] = dataset_id
            self.service.train(component_id)

    def import_copy(self, component_id: str) -> None:
        """Import the file of a component, if it has one; the copy stays when the component goes."""
        client = self.service.client
        if self.process.get(f"components/{component_id}")["retraining"]:
            return
        sent = client.get(f"/v1/components/{component_id}/delta")
        if sent.status_code != 200:
            return
        files = {"file": ("copy.safetensors", sent.content)}
        answer = self.attempt(
            lambda: client.post(
                "/v1/components/import", files=files, data={"allow_duplicate": "true"}
            ),
            201,
        )
        for copy in self._made("components", answer):
            self.model.components[copy] = None
            self.model.imported[copy] = self.images_of(component_id)

    def images_of(self, component_id: str) -> Images:
        """Return the images that the component is made of, by the model."""
        dataset_id = self.model.components[component_id]
        if dataset_id is None:
            return self.model.imported[component_id]
        return dict(self.model.datasets[dataset_id])

    def _made(self, kind: str, answer: dict[str, Any] | None) -> set[str]:
        """Return the id of what the request has made, if it has made anything."""
        if answer is not None:
            return {answer["id"]}
        made = set(self.process.ids(kind)) - set(getattr(self.model, kind))
        assert len(made) <= 1
        return made

    def compose(self, name: str, rule: str, members: list[tuple[str, float]]) -> None:
        """Save a composition."""
        chosen = [
            {"id": each} | ({} if rule == "average" else {"weight": w}) for each, w in members
        ]
        body = {"rule": rule, "components": chosen}
        path = f"/v1/compositions/{name}"
        answer = self.attempt(lambda: self.service.client.put(path, json=body), 200, 201)
        found = None if answer is not None else self.service.client.get(path)
        if found is None or found.status_code == 200:
            kept = answer if found is None else found.json()
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
        listed = self.process.images(dataset_id)
        chosen = listed[place % len(listed)]
        path = f"/v1/datasets/{dataset_id}/images/{chosen['id']}"
        answer = self.attempt(lambda: self.service.client.delete(path), 200)
        expected = {each["sha256"] for each in listed} - {chosen["sha256"]}
        left = expected
        if answer is None:
            left = {each["sha256"] for each in self.process.images(dataset_id)}
            assert left == expected or len(left) == len(listed)
        if left == expected:
            del self.model.datasets[dataset_id][chosen["sha256"]]
            self.removed.add(chosen["sha256"])

    def relabel(self, dataset_id: str, old: str, new: str) -> None:
        """Rename a label, which merges it with one that has the name already."""
        path, body = f"/v1/datasets/{dataset_id}/labels", {"rename": {old: new}}
        answer = self.attempt(lambda: self.service.client.post(path, json=body), 200)
        done = answer is not None or old not in {
            each["label"] for each in self.process.images(dataset_id)
        }
        if done:
            held = self.model.datasets[dataset_id]
            self.model.datasets[dataset_id] = {
                sha: new if label == old else label for sha, label in held.items()
            }

    def _forget(self, kind: str, identity: str) -> None:
        gone = {identity}
        if kind == "datasets":
            gone |= {c for c, dataset in self.model.components.items() if dataset == identity}
            self.removed |= self.model.datasets.pop(identity).keys()
        for component_id in gone & set(self.model.components):
            del self.model.components[component_id]
            self.model.imported.pop(component_id, None)
        for body in self.model.compositions.values():
            body["components"] = [each for each in body["components"] if each["id"] not in gone]
        self.model.deleted |= gone


def _members(components: list[dict[str, Any]]) -> set[tuple[str, float | None]]:
    return {(each["id"], each.get("weight")) for each in components}


@contextmanager
def simulated(
    folder: Path, migrated: Path, trainings: Trainings, database: str | None = None
) -> Iterator[History]:
    """Hold a history in the folder, on SQLite or another database; its processes end with it."""
    data = Path(shutil.copytree(migrated, folder / "data")) if database is None else folder / "data"
    given = Settings(**GIVEN | {"data_dir": data, "database_url": database})
    with injected(folder) as plan, set_by_hand() as clock:
        history = History(given, plan, trainings, clock)
        try:
            yield history
        finally:
            history.close()
