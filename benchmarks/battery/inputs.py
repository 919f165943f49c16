"""Hostile inputs, generated here: each takes a target and returns what it was answered."""

import io
import json
import struct
import time
import zlib
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import httpx
from PIL import Image

from benchmarks.battery.answers import Answers, code_of
from benchmarks.battery.slow_clients import (
    hold_event_streams,
    hold_half_open_connections,
    read_a_delta_slowly,
)

MAX_SECONDS = 120.0
CLIENTS = 100  # hostile ones at once
# From an address of their own: of one address only so many connections are taken.
MANY_SECONDS = 15.0
ELSEWHERE = "127.0.0.2"
QUICK = (
    "thin PNG, 50,000,000 x 1",
    "300 kB of empty images in JSON",
    "slow reader of a delta",
    f"{CLIENTS} hostile clients",
)


class Target(NamedTuple):
    """A service to be tried, with what was stored in it."""

    url: str
    ready: str  # a component
    queued: str  # a component that nobody trains
    dataset: str  # of large images
    images: list[str]  # their ids
    hold: float  # seconds for which connections are held


Hostile = Callable[[Target], Answers]


def png(width: int, height: int) -> bytes:
    """Return a one-bit PNG of zeros, made row by row: no picture of that size is held."""
    packer, row = zlib.compressobj(9), bytes(1 + (width + 7) // 8)
    data = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()

    def chunk(kind: bytes, body: bytes) -> bytes:
        checked = kind + body
        return struct.pack(">I", len(body)) + checked + struct.pack(">I", zlib.crc32(checked))

    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    chunks = chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def jpeg_of_scans(side: int, scans: int) -> bytes:
    """Return a grey progressive JPEG whose last scan is repeated so many times."""
    file = io.BytesIO()
    Image.new("L", (side, side), 128).save(file, "JPEG", progressive=True)
    data = file.getvalue()
    start = data.rindex(b"\xff\xda")
    return data[:start] + data[start:-2] * scans + b"\xff\xd9"


def bmp_of_runs(width: int, height: int) -> bytes:
    """Return a run-length coded BMP whose rows end after their first pixel."""
    payload = b"\1\0\0\0" * height + b"\0\1"
    start = 14 + 40 + 4 * 256
    head = b"BM" + struct.pack("<IHHI", start + len(payload), 0, 0, start)
    about = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(payload), 0, 0, 0, 0)
    return head + about + bytes(4 * 256) + payload


def _predicted(image: bytes, kind: str, count: int = 1, at_once: int = 1) -> Hostile:
    def send(target: Target) -> Answers:
        files = [("images", (f"{number}.{kind}", image)) for number in range(count)]
        return _at_once(target, [("POST", "/v1/predictions", {"files": files})] * at_once)

    return send


def _json(path: str, method: str, body: bytes) -> Hostile:
    arguments = {"content": body, "headers": {"Content-Type": "application/json"}}
    return lambda target: _at_once(target, [(method, path, arguments)])


def _thumbnails(target: Target) -> Answers:
    paths = (f"/v1/datasets/{target.dataset}/images/{each}?size=8" for each in target.images)
    return _at_once(target, [("GET", path, {}) for path in list(paths) * 2])


def _at_once(target: Target, requests: Iterable[tuple[str, str, dict]]) -> Answers:
    """Send the requests side by side; return the answers' statuses and codes."""

    def send(request: tuple[str, str, dict]) -> str:
        method, path, arguments = request
        url = target.url + path
        try:
            with httpx.Client(timeout=MAX_SECONDS, trust_env=False) as client:
                return _told(client.request(method, url, **arguments))
        except httpx.TransportError as error:
            return type(error).__name__

    with ThreadPoolExecutor(16) as pool:
        return Answers(pool.map(send, requests))


def _told(answer: httpx.Response) -> str:
    if answer.status_code != 200 or "json" not in answer.headers.get("Content-Type", ""):
        return code_of(answer)
    errors = {each["error"]["code"] for each in answer.json()["results"] if "error" in each}
    return f"200 {' '.join(sorted(errors))}".strip()


def _many_clients(target: Target) -> Answers:
    """Send costly images and floods from many clients, again and again."""
    flood = b'{"images":[' + b"{}," * 99_999 + b"{}]}"
    bodies = (
        {"content": jpeg_of_scans(1000, 300), "headers": {"Content-Type": "image/jpeg"}},
        {"content": png(300_000, 1), "headers": {"Content-Type": "image/png"}},
        {"content": flood, "headers": {"Content-Type": "application/json"}},
    )
    until = time.monotonic() + min(target.hold, MANY_SECONDS)

    def send(number: int) -> Answers:
        answers = Answers()
        arguments: dict[str, Any] = bodies[number % len(bodies)]
        transport = httpx.HTTPTransport(local_address=ELSEWHERE)
        with httpx.Client(timeout=MAX_SECONDS, trust_env=False, transport=transport) as client:
            while time.monotonic() < until:
                try:
                    answer = client.post(target.url + "/v1/predictions", **arguments)
                    answers[_told(answer)] += 1
                except httpx.TransportError as error:
                    answers[type(error).__name__] += 1
        return answers

    with ThreadPoolExecutor(CLIENTS) as pool:
        return sum(pool.map(send, range(CLIENTS)), Answers())


def every_input() -> dict[str, Hostile]:
    """Return the inputs by name."""
    labels = json.dumps({"name": "many", "labels": [f"l{i}" for i in range(20_000)]}).encode()
    flood, small = (b'{"images":[' + b",".join([b"{}"] * n) + b"]}" for n in (6_600_000, 100_000))
    scans = jpeg_of_scans(2000, 3000)
    return {
        "thin PNG, 300,000 x 1": _predicted(png(300_000, 1), "png"),
        "thin PNG, 50,000,000 x 1": _predicted(png(50_000_000, 1), "png"),
        "64 thin PNGs, 5,000 x 1": _predicted(png(5000, 1), "png", 64),
        "JPEG of empty scans, 4 at once": _predicted(scans, "jpg", at_once=4),
        "BMP of runs, 50,000,000 x 1": _predicted(bmp_of_runs(50_000_000, 1), "bmp"),
        "BMP of runs, 7,000 x 7,000": _predicted(bmp_of_runs(7000, 7000), "bmp"),
        "24 PNGs of 50 megapixels": _predicted(png(7071, 7071), "png", 24),
        "12 thumbnails at once": _thumbnails,
        "20 MB of empty images in JSON": _json("/v1/predictions", "POST", flood),
        "300 kB of empty images in JSON": _json("/v1/predictions", "POST", small),
        "20,000 labels": _json("/v1/spaces", "POST", labels),
        "slow reader of a delta": lambda t: read_a_delta_slowly(t.url, t.ready, t.hold),
        "300 half-open connections": lambda t: hold_half_open_connections(t.url, 300, t.hold),
        f"{CLIENTS} hostile clients": _many_clients,
        "100 idle event streams": lambda t: hold_event_streams(t.url, t.queued, 100, t.hold),
    }
