"""A party that uploads, trains and deletes, and remembers what it was told."""

import hashlib
import random
import threading
import time
from contextlib import suppress
from typing import NamedTuple
from uuid import uuid4

import httpx

from tangent_composer.samples import digits

TOO_MANY = 8  # datasets of a party, from which on it deletes more than it uploads
ALLOWED = (503, 507)


class Asked(NamedTuple):
    """A request that has not been answered yet: it may or may not have happened."""

    act: str  # upload, delete, delete image
    dataset: str = ""
    image: str = ""  # its id
    sha256: str = ""
    key: str = ""  # of an upload
    labels: str = ""
    train: bool = False


class Party:
    """One client with one request at a time, which it repeats until it is answered."""

    def __init__(self, seed: float) -> None:
        self.chance = random.Random(seed)  # noqa: S311
        self.datasets: dict[str, set[str]] = {}  # id -> sha256 of its images
        self.deleted: list[str] = []
        self.trainings: dict[str, str] = {}  # component -> its dataset
        self.asked: Asked | None = None
        self.faults: list[str] = []
        self.answers = 0
        self._digits, _ = digits.load(4)

    def work(self, url: str, done: threading.Event) -> None:
        """Change the store until that is done, or the service is gone."""
        with suppress(httpx.TransportError), self._client(url) as client:
            while not (self.faults or done.is_set()):
                self._step(client, self.asked or self._chosen(client))

    def prepare(self, url: str, act: str) -> None:
        """Choose a request of this kind to be sent next; upload first what it needs."""
        with self._client(url) as client:
            if not any(len(held) > 1 for held in self.datasets.values()):
                self._step(client, self._upload(train=False))
            if act in ("upload", "train"):
                self.asked = self._upload(train=act == "train")
            else:
                able = sorted(id_ for id_, held in self.datasets.items() if len(held) > 1)
                chosen = self.chance.choice(able)
                deletion = Asked("delete", chosen)
                self.asked = deletion if act == "delete" else self._removal(client, chosen)

    def ask_once(self, url: str) -> None:
        """Send the chosen request, and note its answer."""
        assert self.asked is not None
        with self._client(url) as client:
            self._step(client, self.asked)

    def settle(self, url: str) -> None:
        """Repeat the request that a kill has left in doubt."""
        with self._client(url) as client:
            until = time.monotonic() + 60
            while self.asked is not None and not self.faults:
                self._step(client, self.asked)
                if time.monotonic() > until:
                    self.faults.append(f"{self.asked} is refused for a minute")

    def _client(self, url: str) -> httpx.Client:
        return httpx.Client(base_url=url, timeout=120, trust_env=False)

    def _chosen(self, client: httpx.Client) -> Asked:
        few = len(self.datasets) < 3
        if few or self.chance.random() < (0.5 if len(self.datasets) < TOO_MANY else 0.2):
            return self._upload(train=self.chance.random() < 0.1)
        dataset = self.chance.choice(sorted(self.datasets))
        if self.chance.random() < 0.5 and len(self.datasets[dataset]) > 1:
            return self._removal(client, dataset)
        return Asked("delete", dataset)

    def _upload(self, *, train: bool) -> Asked:
        labels = self.chance.choice(["01", "23", "456"])
        return Asked("upload", key=uuid4().hex, labels=labels, train=train)

    def _removal(self, client: httpx.Client, dataset: str) -> Asked:
        """Return the request to delete an image, or the dataset if its images are not shown."""
        shown = client.get(f"/v1/datasets/{dataset}/images")
        if not shown.is_success:
            return Asked("delete", dataset)
        image = self.chance.choice(shown.json()["data"])
        return Asked("delete image", dataset, image["id"], image["sha256"])

    def _step(self, client: httpx.Client, asked: Asked) -> None:
        self.asked = asked
        answer = self._send(client, asked)
        if answer.status_code in ALLOWED:
            time.sleep(0.1)
            return
        if asked.act == "upload" and answer.status_code == 201:
            self._note_upload(asked, answer.json())
        elif asked.act == "delete" and answer.status_code in (200, 410):
            self.datasets.pop(asked.dataset)
            self.deleted.append(asked.dataset)
        elif asked.act == "delete image" and answer.status_code in (200, 404, 410):
            self.datasets[asked.dataset].discard(asked.sha256)
        else:
            self.faults.append(f"{asked} was answered {answer.status_code}: {answer.text[:300]}")
        self.asked = None
        self.answers += 1

    def _send(self, client: httpx.Client, asked: Asked) -> httpx.Response:
        if asked.act == "upload":
            file = {"file": ("a.zip", digits.archive(self._digits, asked.labels))}
            fields = {"train": "true"} if asked.train else {}
            headers = {"Idempotency-Key": asked.key}
            return client.post("/v1/datasets", files=file, data=fields, headers=headers)
        if asked.act == "delete":
            return client.delete(f"/v1/datasets/{asked.dataset}?cascade=true")
        return client.delete(f"/v1/datasets/{asked.dataset}/images/{asked.image}")

    def _note_upload(self, asked: Asked, shown: dict) -> None:
        chosen = [each for each in self._digits if each.label in asked.labels]
        self.datasets[shown["id"]] = {hashlib.sha256(each.png).hexdigest() for each in chosen}
        if asked.train:
            self.trainings[shown["component"]["id"]] = shown["id"]
