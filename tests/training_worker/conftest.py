"""A migrated store with one space and small datasets, on SQLite and on Postgres if one answers."""

import io
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import numpy as np
import PIL.Image
import psycopg
import pytest
from sqlalchemy.orm import Session, sessionmaker

import tangent
from app.settings import Settings
from app.store import components, datasets, lineage, migrate, spaces
from app.store.blobs import LocalBlobs
from app.store.db import open_engine, session_factory, transaction
from app.store.jobs import Jobs
from app.store.tables import Component, Dataset, Space

SERVER = "postgresql://postgres@127.0.0.1:5432"
BACKBONE = "resnet_micro_32"


@pytest.fixture(scope="session")
def opened() -> tangent.Space:
    """The space that the tests' rows are made from."""
    return tangent.open_space(BACKBONE, "head")


@pytest.fixture
def postgres_url() -> Iterator[str]:
    """A fresh database, dropped afterwards; skips where no server answers, but fails in CI."""
    try:
        server = psycopg.connect(f"{SERVER}/postgres", autocommit=True, connect_timeout=3)
    except psycopg.OperationalError as error:
        if os.environ.get("CI") == "true":
            pytest.fail(f"CI must run these tests on Postgres, but none answers: {error}")
        pytest.skip(f"no Postgres answers at 127.0.0.1:5432: {error}")
    name = f"tangent_test_{uuid4().hex[:12]}"
    with server:
        server.execute(f"CREATE DATABASE {name}")
        try:
            yield f"{SERVER}/{name}"
        finally:
            server.execute(f"DROP DATABASE {name} WITH (FORCE)")


class Store:
    """A migrated database and blob folder, with shortcuts for what a client of the API would do."""

    def __init__(self, settings: Settings, opened: tangent.Space) -> None:
        self.settings = settings
        migrate.upgrade(settings)
        self.engine = open_engine(settings)
        self.sessions: sessionmaker[Session] = session_factory(self.engine)
        self.blobs = LocalBlobs(settings.data_dir / "blobs")
        self.jobs = Jobs(settings)
        with transaction(self.sessions) as session:
            spaces.create(session, name="default", opened=spaces.facts(opened))

    def add_dataset(self, per_label: int = 6, labels: str = "ab", seed: int = 0) -> str:
        """A dataset of random images; its id."""
        archive = zipped(per_label, labels, seed)
        with (
            datasets.received(archive, self.blobs, self.settings) as upload,
            transaction(self.sessions) as session,
        ):
            return datasets.add(session, self.blobs, upload, name="noise").id

    def queue(self, dataset_id: str | None = None, **hyperparameters) -> str:
        """A queued component; its id."""
        dataset_id = dataset_id or self.add_dataset()
        with transaction(self.sessions) as session:
            return lineage.queue_training(
                session,
                self.jobs,
                space=session.get_one(Space, "default"),
                dataset=session.get_one(Dataset, dataset_id),
                name=None,
                hyperparameters=tangent.Hyperparameters.resolve("head", hyperparameters).as_dict(),
                seed=0,
                tags={},
            ).id

    def component(self, component_id: str) -> Component:
        """The row as it is now."""
        with self.sessions() as session:
            return components.get(session, component_id)

    def close(self) -> None:
        self.jobs.close()
        self.engine.dispose()


def zipped(per_label: int, labels: str, seed: int) -> io.BytesIO:
    """A zip of random 32 px PNG files, a folder a label."""
    random = np.random.default_rng(seed)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for label in labels:
            for number in range(per_label):
                pixels = random.integers(0, 256, (32, 32, 3), dtype=np.uint8)
                archive.writestr(f"{label}/{number}.png", png(pixels))
    file.seek(0)
    return file


def png(pixels: np.ndarray) -> bytes:
    """The pixels as a PNG file."""
    file = io.BytesIO()
    PIL.Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(params=["sqlite", "postgres"])
def store(request, tmp_path: Path, opened: tangent.Space) -> Iterator[Store]:
    """A fresh store on each kind of database, whose workers are quick to be found dead."""
    url = request.getfixturevalue("postgres_url") if request.param == "postgres" else None
    settings = Settings(
        data_dir=tmp_path / "data",
        database_url=url,
        backbone=BACKBONE,
        scope="head",
        device="cpu",
        threads=1,
        worker_heartbeat_seconds=0.5,
        worker_dead_seconds=3.0,
    )
    store = Store(settings, opened)
    yield store
    store.close()
