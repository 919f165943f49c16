"""Kills at random moments of uploads, trainings, deletions and image removals, then an audit."""

import hashlib
import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx

from benchmarks.battery.copies import Copy, command
from benchmarks.battery.party import Party
from tangent_composer.receipts.offline import check

VICTIMS = ("API", "API", "API", "worker", "both")
MAX_ANSWERS, MAX_PAUSE = 8, 0.3  # before a kill: changes acknowledged, then seconds
MAX_WORK = 30.0  # seconds, on a machine that is too busy for so many answers
QUEUE_SECONDS = 600  # for the trainings that wait at the end


def run(
    folder: Path, database: str | None, kills: int, seed: int, say: Callable[[str], None]
) -> list[str]:
    """Kill a service or its worker so many times; return what the audits find."""
    command("migrate", folder=folder, database=database)
    chance = random.Random(seed)  # noqa: S311
    parties = [Party(chance.random()) for _ in range(2)]
    api, worker = _service(folder, database), _worker(folder, database)
    faults: list[str] = []
    try:
        for number in range(1, kills + 1):
            victim = chance.choice(VICTIMS)
            moment = chance.randint(0, MAX_ANSWERS), chance.uniform(0, MAX_PAUSE)
            _work(parties, api, worker, victim, *moment)
            if not api.is_alive():
                api = _service(folder, database)
            if not worker.is_alive():
                worker = _worker(folder, database)
            found = _settled_and_audited(api.address(), parties)
            faults += [f"after kill {number} ({victim}): {fault}" for fault in found]
            if number % 10 == 0:
                known = f"{_answers(parties)} changes acknowledged"
                say(f"{number} kills, {known}, {len(faults)} faults")
        faults += _at_the_end(api.address(), parties)
    finally:
        ended = [each.end() for each in (api, worker)]
    faults += [] if all(ended) else ["API or worker did not end by itself within 40 s"]
    return faults + doctor(folder, database)


def _service(folder: Path, database: str | None) -> Copy:
    words = "serve", "--port", "0", "--no-worker"
    return Copy(*words, folder=folder, database=database)


def _worker(folder: Path, database: str | None) -> Copy:
    return Copy("worker", folder=folder, database=database)


def _work(
    parties: list[Party], api: Copy, worker: Copy, victim: str, answers: int, seconds: float
) -> None:
    """Let the parties have so many answers and work on for some time, then kill."""
    arguments = api.address(), threading.Event()
    threads = [threading.Thread(target=each.work, args=arguments, daemon=True) for each in parties]
    for each in threads:
        each.start()
    began, before = time.monotonic(), _answers(parties)
    while _answers(parties) < before + answers and time.monotonic() < began + MAX_WORK:
        time.sleep(0.01)
    time.sleep(seconds)
    if victim != "worker":
        api.kill()
    if victim != "API":
        worker.kill()
    arguments[1].set()
    for each in threads:
        each.join(130)


def _answers(parties: list[Party]) -> int:
    return sum(each.answers for each in parties)


def doctor(folder: Path, database: str | None) -> list[str]:
    """Return what `tangent doctor` finds in the folder."""
    found = command("doctor", folder=folder, database=database).strip()
    lines = [line for line in found.splitlines() if "is left of" not in line and ": " in line]
    return [f"tangent doctor: {line}" for line in lines if "bytes left" not in line]


def _settled_and_audited(url: str, parties: list[Party]) -> list[str]:
    for each in parties:
        each.settle(url)
    found = [fault for each in parties for fault in each.faults]
    for each in parties:
        each.faults = []
    return found + list(audit(url, parties))


def audit(url: str, parties: list[Party]) -> Iterator[str]:
    """Yield every acknowledged change that is not there as it was acknowledged."""
    with httpx.Client(base_url=url, timeout=120, trust_env=False) as client:
        held = {id_: shas for each in parties for id_, shas in each.datasets.items()}
        shown = {each["id"] for each in _pages(client, "datasets")}
        if shown != set(held):
            yield f"missing: {set(held) - shown}, there although unknown: {shown - set(held)}"
        for dataset in set(held) & shown:
            yield from _differences(client, dataset, held[dataset])
        for dataset in [id_ for each in parties for id_ in each.deleted[-5:]]:
            status = client.get(f"/v1/datasets/{dataset}").status_code
            if status != 410:
                yield f"deleted {dataset} answers {status}"
        for component, dataset in _trainings(parties):
            status = client.get(f"/v1/components/{component}").status_code
            if status != (200 if dataset in held else 410):
                yield f"{component} of {dataset} answers {status}"
        for receipt in list(_pages(client, "receipts"))[-3:]:
            verified = client.post(f"/v1/receipts/{receipt['id']}/verify")
            if verified.status_code != 200 or not verified.json()["ok"]:
                yield f"receipt {receipt['id']} does not verify: {verified.text[:300]}"


def _differences(client: httpx.Client, dataset: str, expected: set[str]) -> Iterator[str]:
    """Yield how the images differ from those that were acknowledged; read the first of them."""
    rows = list(_pages(client, f"datasets/{dataset}/images"))
    shown = {each["sha256"] for each in rows}
    if shown != expected:
        yield f"{dataset} has {len(shown)} images, of which {len(shown & expected)} are known"
    for each in rows[:1]:
        sent = client.get(f"/v1/datasets/{dataset}/images/{each['id']}")
        if hashlib.sha256(sent.content).hexdigest() != each["sha256"]:
            yield f"image {each['id']} answers {sent.status_code} with other bytes"


def _at_the_end(url: str, parties: list[Party]) -> Iterator[str]:
    """Yield trainings that do not become ready, and faults of the whole ledger."""
    held = {id_ for each in parties for id_ in each.datasets}
    waiting = [component for component, dataset in _trainings(parties) if dataset in held]
    with httpx.Client(base_url=url, timeout=120, trust_env=False) as client:
        until = time.monotonic() + QUEUE_SECONDS
        for component in waiting:
            status = ""
            while status != "ready" and time.monotonic() < until:
                shown = client.get(f"/v1/components/{component}").json()
                status = "" if shown.get("retraining") else shown["status"]
                if status in ("failed", "cancelled"):
                    break
                time.sleep(0.2)
            if status != "ready":
                yield f"{component} is {shown['status']}: {shown.get('error')}"
        yield from check(list(_pages(client, "receipts")), {})


def _trainings(parties: list[Party]) -> Iterator[tuple[str, str]]:
    for each in parties:
        yield from each.trainings.items()


def _pages(client: httpx.Client, path: str) -> Iterator[dict]:
    after = ""
    while True:
        page = client.get(f"/v1/{path}?limit=100{after}").json()
        yield from page["data"]
        if not page["has_more"]:
            return
        after = f"&after={page['next']}"
