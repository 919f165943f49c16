"""A migrated store with one space and small datasets, as the training worker finds it."""

import io
import zipfile

import numpy as np
import PIL.Image
from sqlalchemy.orm import Session, sessionmaker

import tangent
from app.database.jobs import Jobs
from app.database.sessions import open_engine, session_factory, transaction
from app.database.tables import Component, Dataset, Space
from app.datasets import datasets
from app.files.blobs import LocalBlobs
from app.settings import Settings
from app.store import components, lineage, spaces

BACKBONE = "resnet_micro_32"


def png(pixels: np.ndarray) -> bytes:
    """The pixels as a PNG file."""
    file = io.BytesIO()
    PIL.Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


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


class Store:
    """A migrated database and blob folder, with shortcuts for what a client of the API would do."""

    def __init__(self, settings: Settings, opened: tangent.Space) -> None:
        self.settings = settings
        self.engine = open_engine(settings)
        self.sessions: sessionmaker[Session] = session_factory(self.engine)
        self.blobs = LocalBlobs(settings.data_dir / "blobs")
        self.jobs = Jobs(settings)
        with transaction(self.sessions) as session:
            spaces.create(session, name="default", opened=spaces.facts(opened))

    def add_dataset(self, per_label: int = 6, labels: str = "ab", seed: int = 0) -> str:
        """Add a dataset of random images; return its id."""
        archive = zipped(per_label, labels, seed)
        with (
            datasets.receive(archive, self.blobs, self.settings) as upload,
            datasets.store_pack(self.sessions, self.blobs, upload) as pack,
            transaction(self.sessions) as session,
        ):
            return datasets.add(session, pack, upload, name="noise").id

    def queue(
        self, dataset_id: str | None = None, privacy: tangent.Privacy | None = None, **settings
    ) -> str:
        """Queue a component with these hyperparameters; return its id."""
        dataset_id = dataset_id or self.add_dataset()
        with transaction(self.sessions) as session:
            return lineage.queue_training(
                session,
                self.jobs,
                space=session.get_one(Space, "default"),
                dataset=session.get_one(Dataset, dataset_id),
                name=None,
                hyperparameters=tangent.Hyperparameters.resolve("head", settings).as_dict(),
                seed=0,
                tags={},
                privacy=privacy,
            ).id

    def component(self, component_id: str) -> Component:
        """Return the row as it is now."""
        with self.sessions() as session:
            return components.get(session, component_id)

    def close(self) -> None:
        self.jobs.close()
        self.engine.dispose()
