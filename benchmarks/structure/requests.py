"""Three requests to a live service, traced through the project."""

import io
import json
import time
import zipfile
from http.client import HTTPResponse
from pathlib import Path
from socket import create_connection
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import numpy as np
from PIL import Image

from benchmarks.structure.calls import Calls, Trip, Trips
from benchmarks.structure.service import serving, working
from benchmarks.structure.sources import PRODUCT, ROOT

LABELS = ({"cat": 4, "dog": 3}, {"cow": 3, "owl": 3})  # images of each label, by component
TRAINING_SECONDS = 300.0
REST_SECONDS = 0.3  # for what a request leaves to be done after its answer
TIMER_SECONDS = 1.5  # for the last timers that it has set
QUIET_SECONDS = 3.0  # in which each thread that works by a clock does so, as for the lease


def trips() -> Trips:
    """Trace two equal predictions by rule joint, and the deletion of one image."""
    calls = Calls(ROOT, PRODUCT)
    with (
        calls.watching(),
        TemporaryDirectory(prefix="tangent-structure-") as folder,
        serving(Path(folder)) as (host, port),
        httpx.Client(base_url=f"http://{host}:{port}", timeout=60, trust_env=False) as client,
    ):
        with working(Path(folder)) as log:
            datasets = [_upload(client, labels) for labels in LABELS]
            for dataset in datasets:
                _train(client, dataset, log)
        place = f"/v1/datasets/{datasets[-1]}/images"
        image = client.get(place).raise_for_status().json()["data"][0]["id"]
        files = {"images": ("image.png", _picture("cat", 90), "image/png")}

        request = client.build_request("POST", "/v1/predictions", files=files)
        first, answer = _traced(calls, request)
        assert (answer["rule"], len(answer["components"])) == ("joint", len(LABELS)), answer

        prediction, again = _traced(calls, request)
        assert again["results"] == answer["results"]

        request = client.build_request("DELETE", f"{place}/{image}")
        deletion, receipt = _traced(calls, request)
        outcomes = [component["outcome"] for component in receipt["body"]["components"]]
        assert outcomes == ["down_dated"], receipt
        return Trips(prediction, first, deletion)


def _traced(calls: Calls, request: httpx.Request) -> tuple[Trip, Any]:
    """Send a request in one piece; return its trip and the JSON of its answer.

    A client that sends head and body one after the other sometimes makes the service wait for the
    body, and each coroutine that it then resumes would count as a call.
    """
    lines = [f"{request.method} {request.url.raw_path.decode()} HTTP/1.1".encode()]
    lines += [name + b": " + value for name, value in request.headers.raw]
    address = (request.url.host, request.url.port or 80)
    time.sleep(TIMER_SECONDS)
    with calls.resting():
        time.sleep(QUIET_SECONDS)
    with create_connection(address, timeout=60) as connection, calls.recording():
        connection.sendall(b"\r\n".join([*lines, b"", request.read()]))
        answer = HTTPResponse(connection, method=request.method)
        answer.begin()
        body = answer.read()
        time.sleep(REST_SECONDS)
    if answer.status != 200:
        raise SystemExit(f"{request.method} {request.url} answered {answer.status}: {body!r}")
    assert calls.trip.modules, f"the service runs from elsewhere than {ROOT}: start there"
    return calls.trip, json.loads(body)


def _upload(client: httpx.Client, labels: dict[str, int]) -> str:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for label, count in labels.items():
            for number in range(count):
                archive.writestr(f"{label}/{number}.png", _picture(label, number))
    answer = client.post("/v1/datasets", files={"file": ("images.zip", file.getvalue())})
    return answer.raise_for_status().json()["id"]


def _train(client: httpx.Client, dataset: str, log: Path) -> None:
    made = client.post("/v1/components", json={"dataset_id": dataset}).raise_for_status()
    place, end = f"/v1/components/{made.json()['id']}", time.monotonic() + TRAINING_SECONDS
    while (component := client.get(place).raise_for_status().json())["status"] != "ready":
        if component["status"] == "failed" or time.monotonic() > end:
            raise SystemExit(f"not trained: {component}; the worker said:\n{log.read_text()}")
        time.sleep(0.1)


def _picture(label: str, number: int) -> bytes:
    random = np.random.default_rng([*label.encode(), number])
    file = io.BytesIO()
    Image.fromarray(random.integers(0, 256, (32, 32, 3), np.uint8)).save(file, "PNG")
    return file.getvalue()
