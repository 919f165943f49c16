"""All systems of a measurement, set up and running side by side; each is idle until its turn."""

import random
from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
from rich.console import Console

from benchmarks.battery.processes import Process
from benchmarks.load.cells import (
    COMPOSITIONS,
    FRONT,
    LITSERVE,
    MANY,
    PLAIN,
    TANGENT,
    Cell,
    Served,
)
from benchmarks.load.environments import NotMade
from benchmarks.load.images import FORM, write_digits, write_form, write_photographs
from benchmarks.load.orders import Engine
from benchmarks.load.other_systems import PORT, Server
from benchmarks.load.sending import Request

PREDICTIONS = "/v1/predictions"


class Systems:
    """The bare engine, the service and what it is compared with, while the block runs."""

    def __init__(
        self,
        spaces: list[Served],
        *,
        threads: int,
        photos: Path | None,
        others: bool,
        console: Console,
        worker: bool = True,
    ) -> None:
        self.spaces, self.threads, self._photos = spaces, threads, photos
        self._others, self._console, self._worker = others, console, worker
        self.servers: dict[tuple[str, str], Server] = {}
        self._stack = ExitStack()
        self._images: dict[str, list[str]] = {}
        self._forms: dict[str, str] = {}

    def __enter__(self) -> "Systems":
        try:
            self._set_up()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _set_up(self) -> None:
        temporary = TemporaryDirectory(prefix="tangent-load-")
        self._folder = Path(self._stack.enter_context(temporary))
        (self._folder / "weights").mkdir()
        (self._folder / "service").mkdir()
        self.engine = self._stack.enter_context(Engine(self.threads))
        self.service = self._started()  # while the engine's process loads torch
        for served in self.spaces:
            self._write(served)
        for served in self.spaces:
            self._fill(served)
            for system in (FRONT, PLAIN, LITSERVE) if self._others else (FRONT,):
                self._add_server(served, system)

    def _write(self, served: Served) -> None:
        """Write images, weights and components, and open the space in the bare engine."""
        name = served.name
        if served.media_type == "image/png":
            self._images[name] = write_digits(self._folder)
        else:
            self._images[name] = write_photographs(self._folder, self._photos)
            architecture, path = served.architecture, self._weights(served)
            self.engine.order("write_backbone", architecture=architecture, path=path)
        self._forms[name] = write_form(self._folder, name, self._images[name], served.large)
        self.engine.set_up(
            *(name, served.backbone(self._weights(served)), served.scope),
            images=self._images[name],
            folder=self._folder,
        )
        components = [str(path) for path in self.component_files(served.name)]
        self.engine.order("compose", space=name, components=components, rule=served.rule)

    def _weights(self, served: Served) -> str:
        return str(self._folder / "weights" / f"{served.name}.safetensors")

    def _started(self) -> Process:
        settings = {
            "OMP_NUM_THREADS": str(self.threads),
            "TANGENT_THREADS": str(self.threads),
            "TANGENT_WEIGHTS_DIR": str(self._folder / "weights"),
        }
        data = self._folder / "service" / "data"
        service = Process(data, database=None, worker=self._worker, settings=settings)
        self._stack.callback(service.end)
        return service

    def client(self) -> httpx.Client:
        """Return a client of the service."""
        return httpx.Client(base_url=self.service.url, timeout=120, trust_env=False)

    def _fill(self, served: Served) -> None:
        """Make the space, its components and its compositions."""
        with self.client() as client:
            if served.name != "default":
                backbone = served.backbone(self._weights(served))
                space = {"name": served.name, "backbone": backbone, "scope": served.scope}
                client.post("/v1/spaces", json=space).raise_for_status()
            ids = []
            for path in self.component_files(served.name):
                answer = client.post(
                    "/v1/components/import",
                    files={"file": path.open("rb")},
                    data={"allow_duplicate": "true"},
                )
                ids.append(answer.raise_for_status().json()["id"])
            for name, content in _compositions(served, ids).items():
                client.put(f"/v1/compositions/{name}", json=content).raise_for_status()

    def _add_server(self, served: Served, system: str) -> None:
        backbone, log = served.backbone(self._weights(served)), self._folder / "server.log"
        batch, image = str(served.plain_batch), self._images[served.name][0]
        components = ",".join(str(path) for path in self.component_files(served.name))
        arguments = {
            FRONT: [backbone, served.scope, served.rule, components, PORT, batch],
            PLAIN: [backbone, PORT],
            LITSERVE: [backbone, PORT, batch],
        }[system]
        try:
            server = Server(system, arguments, self.threads, log, image)
            self.servers[served.name, system] = self._stack.enter_context(server)
        except NotMade as error:
            self._console.print(f"{system} is left out for {served.name}: {error}")

    def of(self, cell: Cell) -> Process | Server:
        """Return the cell's system."""
        return self.service if cell.system == TANGENT else self.servers[cell.space, cell.system]

    def turn(self, cell: Cell) -> AbstractContextManager[None]:
        """Return a context in which the cell's system runs, and those compared with do not."""
        server = self.servers.get((cell.space, cell.system))
        return nullcontext() if server is None else server.turn()

    def requests(self, cell: Cell) -> list[Request]:
        """Return the cell's requests, to be sent in turn."""
        files = self._images[cell.space]
        if cell.system != TANGENT:
            return [Request("/predict", "application/octet-stream", file) for file in files]
        count = COMPOSITIONS if cell.selection == MANY else 1
        names = [_name(cell.space, number if count > 1 else None) for number in range(count)]
        if cell.images > 1:
            form = self._forms[cell.space]
            return [Request(f"{PREDICTIONS}?composition={name}", FORM, form) for name in names]
        kind = next(each.media_type for each in self.spaces if each.name == cell.space)
        return [
            Request(f"{PREDICTIONS}?composition={names[n % count]}", kind, files[n % len(files)])
            for n in range(max(count, len(files)))
        ]

    def component_files(self, space: str) -> list[Path]:
        """Return the files of the space's components."""
        return sorted(self._folder.glob(f"{space}-*.safetensors"))

    def of_all_components(self) -> list[Request]:
        """Return requests by all ready components of the default space."""
        return [Request(PREDICTIONS, "image/png", file) for file in self._images["default"]]


def _name(space: str, number: int | None) -> str:
    return f"{space}-{'one' if number is None else number}"


def _compositions(served: Served, ids: list[str]) -> dict[str, dict[str, Any]]:
    """Return a composition by the space's own rule, and others with weights of their own."""
    chance = random.Random(0)  # noqa: S311
    made: dict[str, dict[str, Any]] = {
        _name(served.name, None): {
            "space": served.name,
            "rule": served.rule,
            "components": [{"id": each} for each in ids],
        }
    }
    for number in range(COMPOSITIONS):
        weighted = [{"id": each, "weight": round(chance.uniform(0, 1), 3)} for each in ids]
        made[_name(served.name, number)] = {
            "space": served.name,
            "rule": "weighted",
            "components": weighted,
        }
    return made
