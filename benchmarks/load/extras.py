"""Figures beside throughput: deletions under load, readiness, processor time, memory."""

import re
import time
from typing import Any

import httpx

from app.images.process import MODULE
from app.inference.remote import engine_process
from benchmarks.load.cells import FRONT, ONE, TANGENT, Cell
from benchmarks.load.sending import Load, Sending, send
from benchmarks.load.systems import Systems
from benchmarks.process_costs import cpu_seconds, of_family, thread_seconds, with_word
from tangent_composer.samples import digits

Figures = dict[str, Any]
NOT_THE_API = (MODULE, "app.cli worker")  # in command lines: processes that decode, and that train
MANY_CLIENTS = 300
RAMP = 2.0  # seconds until all clients have sent their first request
PAUSE = 0.1  # seconds between two questions
TRAINING_SECONDS = 180.0


def changes_under_load(systems: Systems, clients: int, rest: float, *, train: bool) -> Figures:
    """Upload, train and delete while clients predict by all ready components.

    Without `train`, a component is imported instead, which needs no worker.
    `late` counts the answers with the component that came after its DELETE's answer.
    """
    most = TRAINING_SECONDS + 3 * rest
    load = Load(
        systems.service.url,
        systems.of_all_components(),
        clients=clients,
        seconds=most,
        limit=10**6,
        watch=True,
    )
    with systems.client() as client, Sending(load) as sending:
        time.sleep(rest)
        component, upload, training = _added(systems, client, train)
        time.sleep(rest)
        asked = time.monotonic()
        client.delete(f"/v1/components/{component}").raise_for_status()
        deleted = time.monotonic()
        time.sleep(rest)
        sending.stop()
    outcome = sending.outcome
    moments = outcome.seen.get(component, [])
    return {
        "upload_seconds": upload,
        "training_seconds": training,
        "deletion_seconds": deleted - asked,
        "with_it": len(moments),
        "late": sum(moment > deleted for moment in moments),
        "answers": outcome.answers,
        "errors": outcome.errors,
        "refused": outcome.refused,
    }


def _added(systems: Systems, client: httpx.Client, train: bool) -> tuple[str, float, float | None]:
    """Upload a dataset and add a component; return its id, and the seconds of both steps."""
    images, _ = digits.load(40)
    file = {"file": ("01.zip", digits.archive(images, "01"), "application/zip")}
    began = time.monotonic()
    fields = {"train": "true" if train else "false"}
    answer = client.post("/v1/datasets", files=file, data=fields).raise_for_status()
    uploaded = time.monotonic()
    if train:
        component = answer.json()["component"]["id"]
        _wait_until_ready(client, component)
        return component, uploaded - began, time.monotonic() - uploaded
    content = systems.component_files("default")[0].read_bytes()
    imported = client.post(
        "/v1/components/import",
        files={"file": ("more.safetensors", content)},
        data={"allow_duplicate": "true"},
    )
    return imported.raise_for_status().json()["id"], uploaded - began, None


def _wait_until_ready(client: httpx.Client, component: str) -> None:
    until = time.monotonic() + TRAINING_SECONDS
    while True:
        shown = client.get(f"/v1/components/{component}").raise_for_status().json()
        if shown["status"] == "ready":
            return
        if shown["status"] == "failed" or time.monotonic() > until:
            raise SystemExit(f"the component was not trained under load: {shown}")
        time.sleep(PAUSE)


def readiness(systems: Systems, seconds: float, clients: int = MANY_CLIENTS) -> Figures:
    """Ask `/readyz` all the while that many clients predict; return its longest wait."""
    cell = Cell("default", TANGENT, ONE)
    load = Load(
        systems.service.url,
        systems.requests(cell),
        clients=clients,
        seconds=RAMP + seconds,
        warm=0.0,
    )
    waits, statuses = [], set()
    with systems.client() as client, Sending(load) as sending:
        time.sleep(RAMP)  # for all clients to be there
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            began = time.monotonic()
            statuses.add(client.get("/readyz").status_code)
            waits.append(time.monotonic() - began)
            time.sleep(PAUSE)
    outcome = sending.outcome
    return {
        "clients": clients,
        "longest": max(waits),
        "median": sorted(waits)[len(waits) // 2],
        "asked": len(waits),
        "statuses": sorted(statuses),
        "answers": outcome.answers,
        "errors": outcome.errors,
        "refused": outcome.refused,
    }


def processor_time(systems: Systems, seconds: float, clients: int) -> Figures:
    """Return a request's CPU milliseconds in the API, beside decoding and the forward pass.

    One thread each, so that no thread waits by spinning. The time of the forward pass is what the
    bare engine takes in batches as large as the service's: CPU time, which no neighbour stretches.
    Of the bare front the same, less what the engine takes from files, as the front decodes itself.
    `parts` says which threads took it.
    """
    assert systems.threads == 1
    pid, url = systems.service.pid, systems.service.url
    load = Load(url, systems.requests(Cell("default", TANGENT, ONE)), clients, seconds=seconds)
    send(Load(load.url, load.requests, clients, seconds=0.2))
    counted, before = _forwards(url), _processor_seconds(pid)
    outcome = send(load)
    took = {
        part: 1000 * (seconds - before[part]) / max(1, outcome.answers)
        for part, seconds in _processor_seconds(pid).items()
    }
    images, passes = (after - had for after, had in zip(_forwards(url), counted, strict=True))
    batch = max(1, round(images / passes)) if passes else 1
    forward = systems.engine.order("measure", space="default", batch=batch, seconds=seconds / 2)
    everything, each = took.pop("everything"), took.pop("api")
    return _of_front(systems, seconds, clients) | {
        "api_ms": each,
        "forward_ms": forward["cpu_ms"],
        "beside_ms": each - forward["cpu_ms"],
        "parts_ms": took | {"batches": took["batches"] - forward["cpu_ms"]},
        "other_processes_ms": everything - each,
        "batch": batch,
        "phases": outcome.phases,
        "answers": outcome.answers,
        "errors": outcome.errors,
        "refused": outcome.refused,
    }


def _processor_seconds(pid: int) -> dict[str, float]:
    """Return the processor time of the service until now: of all, and of the API by its threads."""
    (engine,) = with_word(pid, engine_process.MODULE)
    loop, threads = thread_seconds(pid)
    messages, batches = thread_seconds(engine)
    return {
        "everything": cpu_seconds(pid),
        "api": cpu_seconds(pid, without=NOT_THE_API),
        "loop": loop,
        "threads": threads,
        "messages": messages,
        "batches": batches,
    }


def _of_front(systems: Systems, seconds: float, clients: int) -> Figures:
    cell = Cell("default", FRONT)
    load = Load(systems.of(cell).url, systems.requests(cell), clients, seconds=seconds)
    pid = systems.of(cell).pid
    with systems.turn(cell):
        send(Load(load.url, load.requests, clients, seconds=0.2))
        before = cpu_seconds(pid)
        outcome = send(load)
        used = cpu_seconds(pid) - before
        batch = round(httpx.get(load.url, trust_env=False).raise_for_status().json()["batch"])
    computed = systems.engine.order(
        "measure", space="default", batch=batch, seconds=seconds / 2, from_files=True
    )
    return {"front_beside_ms": 1000 * used / max(1, outcome.answers) - computed["cpu_ms"]}


def _forwards(url: str) -> tuple[float, float]:
    """Return the images and the number of all forward passes until now."""
    text = httpx.get(f"{url}/metrics", timeout=60, trust_env=False).raise_for_status().text
    name = "tangent_inference_batch_size"
    found = [re.search(rf"^{name}_{each} (\S+)", text, re.M) for each in ("sum", "count")]
    total, count = (float(match[1]) if match else 0.0 for match in found)
    return total, count


def memory(systems: Systems, requests: int, clients: int) -> Figures:
    """Return the growth of all processes' memory over the second half of so many requests."""
    pid, sizes, errors, refused = systems.service.pid, [], dict[str, int](), 0
    load = Load(
        systems.service.url,
        systems.requests(Cell("default", TANGENT, ONE)),
        clients=clients,
        seconds=600.0,
        warm=0.0,
        limit=requests // 2,
    )
    for _ in range(2):
        outcome = send(load)
        sizes.append(of_family(pid))
        errors |= outcome.errors
        refused += outcome.refused
    return {
        "requests": requests,
        "megabytes": [size / 1e6 for size in sizes],
        "growth": sizes[1] / sizes[0] - 1,
        "errors": errors,
        "refused": refused,
    }
