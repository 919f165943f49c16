"""Kills at random moments of uploads, trainings, deletions and image removals, then an audit."""

import random
import threading
import time
from pathlib import Path
from uuid import uuid4

import httpx

from app.demo import digits
from benchmarks.battery.processes import Process


class Acknowledged:
    """The changes that the service has said it made."""

    def __init__(self) -> None:
        self.datasets: dict[str, int] = {}  # id -> images
        self.deleted: set[str] = set()
        self.in_doubt: set[str] = set()  # ids of which the last request was not answered
        self.trainings: dict[str, str] = {}  # component -> its dataset


def run(folder: Path, database: str | None, kills: int, seed: int) -> list[str]:
    """Kill a service so many times; return what an audit finds after each start."""
    chance, known, faults = random.Random(seed), Acknowledged(), list[str]()  # noqa: S311
    for number in range(kills + 1):
        service = Process(folder, database=database, worker=True)
        try:
            faults += [f"after kill {number}: {fault}" for fault in audit(service.url, known)]
            if number == kills:
                break
            changes = [
                threading.Thread(target=_change, args=(service.url, known, random.Random(part)))  # noqa: S311
                for part in (chance.random(), chance.random())
            ]
            for each in changes:
                each.start()
            time.sleep(chance.uniform(0.3, 4))
            service.kill()
            for each in changes:
                each.join(60)
        finally:
            service.kill() if number < kills else service.end()
    found = service.command("doctor").strip()
    lines = [line for line in found.splitlines() if "is left of" not in line and ": " in line]
    return faults + [f"tangent doctor: {line}" for line in lines if "bytes left" not in line]


def _change(url: str, known: Acknowledged, chance: random.Random) -> None:
    """Change the store until the service is gone."""
    training, _ = digits.load(4)
    archives = [digits.archive(training, labels) for labels in ("01", "23", "45")]
    try:
        with httpx.Client(base_url=url, timeout=60, trust_env=False) as client:
            while True:
                _one_change(client, known, chance, archives)
    except httpx.TransportError:
        return


def _one_change(
    client: httpx.Client, known: Acknowledged, chance: random.Random, archives: list[bytes]
) -> None:
    certain = [each for each in known.datasets if each not in known.in_doubt | known.deleted]
    if len(certain) < 3 or chance.random() < 0.5:
        file = {"file": ("a.zip", chance.choice(archives), "application/zip")}
        headers = {"Idempotency-Key": uuid4().hex}
        made = client.post("/v1/datasets", files=file, data={"train": "true"}, headers=headers)
        if made.status_code == 201:
            body = made.json()
            known.datasets[body["id"]] = body["num_images"]
            known.trainings[body["component"]["id"]] = body["id"]
        return
    dataset = chance.choice(certain)
    known.in_doubt.add(dataset)
    if chance.random() < 0.5:
        if client.delete(f"/v1/datasets/{dataset}?cascade=true").is_success:
            known.deleted.add(dataset)
    else:
        images = client.get(f"/v1/datasets/{dataset}/images").json().get("data", [])
        if len(images) > 1:
            path = f"/v1/datasets/{dataset}/images/{images[0]['id']}"
            if client.delete(path).is_success:
                known.datasets[dataset] = -1  # the audit counts again
    if dataset not in known.deleted:
        known.in_doubt.discard(dataset)


def audit(url: str, known: Acknowledged) -> list[str]:
    """Return every acknowledged change that is not there as it was acknowledged."""
    faults = []
    with httpx.Client(base_url=url, timeout=120, trust_env=False) as client:
        for dataset, images in known.datasets.items():
            answer = client.get(f"/v1/datasets/{dataset}")
            if dataset in known.deleted and answer.status_code != 410:
                faults.append(f"deleted {dataset} answers {answer.status_code}")
            if dataset in known.deleted | known.in_doubt:
                continue
            if answer.status_code != 200 or images not in (-1, answer.json()["num_images"]):
                faults.append(f"{dataset} answers {answer.status_code}: {answer.text[:200]}")
            else:
                faults += _unreadable(client, dataset)
        for receipt in client.get("/v1/receipts?limit=100").json()["data"]:
            verified = client.post(f"/v1/receipts/{receipt['id']}/verify")
            if verified.status_code != 200 or not verified.json()["ok"]:
                faults.append(f"receipt {receipt['id']} does not verify: {verified.text[:300]}")
    return faults


def _unreadable(client: httpx.Client, dataset: str) -> list[str]:
    images = client.get(f"/v1/datasets/{dataset}/images").json()["data"]
    answers = [client.get(f"/v1/datasets/{dataset}/images/{each['id']}") for each in images[:2]]
    return [f"an image of {dataset}: {each.text[:200]}" for each in answers if each.is_error]
