"""A running service, and components that become ready without a training worker.

service.client                          httpx.Client on it
service.dataset({"cat": 3, "dog": 3})   uploaded over HTTP; its id
service.component({"cat": 3})           trained here by `tangent.fit` and published; its id

Components are trained by `Service.trainings`, which tests may share.
"""

import asyncio
import dataclasses
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import httpx
import uvicorn

import tangent
from app.cli.api_server import LOOP
from app.database.sessions import transaction
from app.datasets import datasets
from app.datasets.training_images import training_only
from app.main import create_app
from app.server.http_protocol import protocol
from app.settings import Settings
from app.store import components, spaces
from tests.support.images import archive
from tests.support.trainings import Trained, Trainings

KEY_FREE = {"api_key": None, "database_url": None}  # whatever the environment says


def plain_client(url: str, headers: dict[str, str] | None = None) -> httpx.Client:
    """Return a client of a service; it speaks no TLS, whose authorities take 20 ms to load."""
    return httpx.Client(base_url=url, headers=headers, timeout=120, trust_env=False, verify=False)


class Service:
    """A running service, with the steps that tests take on it."""

    trainings = Trainings()

    def __init__(self, app: Any, settings: Settings, url: str, client: Any = None) -> None:
        self.app, self.settings, self.url = app, settings, url
        headers = {"Authorization": f"Bearer {settings.api_key}"} if settings.api_key else {}
        self.client = client or plain_client(url, headers)

    @property
    def state(self) -> Any:
        """The service's own parts: sessions, blobs, engine, jobs."""
        return self.app.state.parts

    @contextmanager
    def replaced(self, **parts: Any) -> Iterator[None]:
        """Serve with other parts in place of the service's own while the block runs."""
        own = self.app.state.parts
        self.app.state.parts = dataclasses.replace(own, **parts)
        try:
            yield
        finally:
            self.app.state.parts = own

    def dataset(self, counts: dict[str, int], start: int = 0, **fields: str) -> str:
        """Upload a dataset with these images; return its id."""
        files = {"file": ("images.zip", archive(counts, start), "application/zip")}
        answer = self.client.post("/v1/datasets", files=files, data=fields)
        assert answer.status_code == 201, answer.text
        return answer.json()["id"]

    def queued(self, dataset_id: str, space: str = "default", **body: Any) -> str:
        """Queue a component over HTTP; return its id."""
        answer = self.client.post(
            "/v1/components", json={"dataset_id": dataset_id, "space": space} | body
        )
        assert answer.status_code == 202, answer.text
        return answer.json()["id"]

    def component(self, counts: dict[str, int], start: int = 0, space: str = "default") -> str:
        """Make a component from a new dataset; return its id."""
        return self.train(self.queued(self.dataset(counts, start), space))

    def train(self, component_id: str) -> str:
        """Do for a queued component what the training worker does; return its id."""
        state = self.state
        with transaction(state.sessions) as session:
            row = components.start(session, component_id, executor_id="test")
            assert row is not None
            space_row = spaces.get(session, row.space)
            dataset = datasets.get(session, row.dataset_id)
            rows = datasets.rows(session, dataset.id, training_only())
        space = state.engine.opened(state.spaces.key(space_row))
        files = [(each.label, datasets.read(state.blobs, dataset, each)) for each in rows]
        scratch = state.blobs.scratch_path(component_id)
        scratch.mkdir()
        resolved = tangent.Hyperparameters.resolve(space.scope, row.hyperparameters)
        trained = self.trainings.train(
            *(space, files, resolved),
            seed=row.seed,
            limits=self.settings,
            scratch=scratch,
            privacy=row.privacy,
            units=[each.group or each.id for each in rows],
        )
        self.publish(component_id, trained)
        return component_id

    def publish(self, component_id: str, trained: Trained) -> None:
        """Store the file, remove its folder and make the row ready."""
        key, size = f"components/{component_id}/{uuid4()}.safetensors", trained.path.stat().st_size
        self.state.blobs.put(trained.path, key)
        shutil.rmtree(trained.path.parent)
        with transaction(self.state.sessions) as session:
            assert components.publish(
                session,
                component_id,
                blob_key=key,
                sha256=trained.sha256,
                bytes=size,
                labels=trained.labels,
                metrics=trained.metrics,
                generation=components.get(session, component_id).generation,
            )


class _Hasty:
    """The module asyncio with shorter pauses."""

    def __getattr__(self, name: str) -> Any:
        return getattr(asyncio, name)

    @staticmethod
    async def sleep(seconds: float) -> None:
        await asyncio.sleep(seconds / 20)


# Servers in threads of tests end at once: of a tenth of a second, uvicorn pauses several times.
uvicorn.server.asyncio = _Hasty()  # type: ignore[assignment]


@contextmanager
def running(settings: Settings) -> Iterator[Service]:
    """Run the service of these settings on a free loopback port until the block ends."""
    app = create_app(settings)
    # Sent at once only where the socket names its protocol; else answers wait 40 ms.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    config = uvicorn.Config(
        app,
        http=protocol(settings),
        loop=LOOP,
        log_config=None,
        timeout_keep_alive=settings.keep_alive_seconds,
        timeout_graceful_shutdown=5,
    )
    server = uvicorn.Server(config)
    server.install_signal_handlers = lambda: None  # type: ignore[method-assign]
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    service = Service(app, settings, f"http://127.0.0.1:{listener.getsockname()[1]}")
    try:
        _wait(server, thread)
        yield service
    finally:
        service.client.close()
        server.should_exit = True
        thread.join(30)
        listener.close()
        assert not thread.is_alive(), "the service did not end"


def _wait(server: uvicorn.Server, thread: threading.Thread) -> None:
    end = time.monotonic() + 60
    while not server.started:
        assert thread.is_alive(), "the service did not start: see the log"
        assert time.monotonic() < end, "the service did not start within a minute"
        time.sleep(0.01)
