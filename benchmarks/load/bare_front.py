"""The least service around the bare engine: HTTP, decoding, batches, and nothing else.

    python -m benchmarks.load.bare_front BACKBONE SCOPE RULE COMPONENTS PORT BATCH

Two processes, as the service has them: this one reads requests and decodes, the other waits up to
two milliseconds for a batch and computes it. Without keys, selections, schemas, leases, deletions
or limits to what an image may cost, it shows what the machine gives to a service in Python at best.
GET answers with the mean size of the batches.
"""

import asyncio
import io
import json
import multiprocessing
import sys
import tempfile
from collections.abc import Awaitable, Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import uvicorn
import zmq
import zmq.asyncio
from PIL import Image

from tangent.backbones.geometry import Geometry

WAIT_MS = 2  # for a batch
SHOWN = 5
SMALL = 64  # pixels of an edge up to which decoding costs less than handing over to a thread
Message = MutableMapping[str, Any]


def compute(address: str, largest: int, model: tuple[str, str, str, str]) -> None:
    """Answer images in batches, for as long as the process lives."""
    import torch  # not in the process that speaks HTTP

    import tangent

    backbone, scope, rule, components = model
    space = tangent.open_space(backbone, scope)
    parts = [(tangent.Component.load(Path(path)), None) for path in components.split(",")]
    delta = tangent.compose(space, parts, rule, shas=[str(n) for n in range(len(parts))])
    geometry = space.preprocess.geometry
    shape = (*geometry.crop, 3)
    socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.PAIR)
    socket.connect(address)
    socket.send_multipart([b"", json.dumps(geometry.fields()).encode()])
    while True:
        waiting = [socket.recv_multipart()]
        while len(waiting) < largest and socket.poll(WAIT_MS):
            waiting.append(socket.recv_multipart())
        pixels = [np.frombuffer(each, np.uint8).reshape(shape) for _, each in waiting]
        inputs = space.preprocess.normalize(torch.from_numpy(np.stack(pixels)))
        rows = space.logits(inputs, delta).softmax(1).numpy()
        size = str(len(waiting)).encode()
        for (number, _), row in zip(waiting, rows, strict=True):
            socket.send_multipart([number, size, row.astype(np.float32).tobytes()])


class Front:
    """The ASGI application."""

    def __init__(self, address: str) -> None:
        self._address, self._numbers = address, count()
        self._waiting: dict[bytes, asyncio.Future[bytes]] = {}
        self._images, self._batches = 0, 0.0
        self._pool = ThreadPoolExecutor(1)

    async def _start(self) -> None:
        self._socket = zmq.asyncio.Context.instance().socket(zmq.PAIR)
        self._socket.bind(self._address)
        _, ready = await self._socket.recv_multipart()
        self._geometry = Geometry.of(json.loads(ready))
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        while True:
            number, size, row = await self._socket.recv_multipart()
            self._images, self._batches = self._images + 1, self._batches + 1 / int(size)
            self._waiting.pop(number).set_result(row)

    async def __call__(
        self,
        scope: Message,
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        if scope["type"] == "lifespan":
            await receive()
            await self._start()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            return
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        if scope["method"] == "GET":
            answer = json.dumps({"batch": self._images / max(1, self._batches)}).encode()
        else:
            answer = await self._answer(body)
        length = (b"content-length", str(len(answer)).encode())
        headers = [(b"content-type", b"application/json"), length]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    async def _answer(self, body: bytes) -> bytes:
        loop, image = asyncio.get_running_loop(), Image.open(io.BytesIO(body))
        if max(image.size) <= SMALL:
            pixels = self._pixels(image)
        else:
            pixels = await loop.run_in_executor(self._pool, self._pixels, image)
        number = str(next(self._numbers)).encode()
        coming = self._waiting[number] = loop.create_future()
        await self._socket.send_multipart([number, pixels])
        row = np.frombuffer(await coming, np.float32)
        best = np.argsort(-row)[:SHOWN]
        shown = [{"label": str(each), "probability": float(row[each])} for each in best]
        return json.dumps({"predictions": shown}).encode()

    def _pixels(self, image: Image.Image) -> bytes:
        return self._geometry.apply(image.convert("RGB")).tobytes()


def main(backbone: str, scope: str, rule: str, components: str, port: str, batch: str) -> None:
    """Serve until the process is ended."""
    with tempfile.TemporaryDirectory(prefix="tangent-front-") as folder:
        address, model = f"ipc://{folder}/engine", (backbone, scope, rule, components)
        start = multiprocessing.get_context("spawn").Process
        start(target=compute, args=(address, int(batch), model), daemon=True).start()
        uvicorn.run(Front(address), port=int(port), log_level="warning", http="httptools")


if __name__ == "__main__":
    main(*sys.argv[1:])
