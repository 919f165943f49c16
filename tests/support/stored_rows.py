"""Rows of components and images put into a store as they are, for lists too long to be trained."""

import hashlib

from app.database.sessions import transaction
from app.database.tables import Component, Image
from app.datasets import datasets
from app.store import spaces
from tests.support.service import Service


def store_components(service: Service, names: list[str], labels: dict[str, int]) -> None:
    """Store a ready component of each name in the default space; none of them has a file."""
    with transaction(service.state.sessions) as session:
        space = spaces.get(session, spaces.DEFAULT)
        for name in names:
            row = Component(name=name, space=space.name, status="ready", hyperparameters={}, seed=0)
            row.labels, row.fingerprint, row.metrics = labels, space.fingerprint, {}
            row.sha256 = hashlib.sha256(name.encode()).hexdigest()
            row.bytes, row.blob_key = 1000, f"components/none/{row.sha256}"
            session.add(row)


def store_copies(service: Service, dataset_id: str, count: int) -> None:
    """Let a dataset hold `count` images: further rows for the bytes of its first image."""
    with transaction(service.state.sessions) as session:
        dataset = datasets.get(session, dataset_id)
        first = datasets.images(session, dataset_id, label=None, after=None, limit=1)[0]
        kept = {
            column.name: getattr(first, column.name)
            for column in Image.__table__.columns
            if column.name not in ("id", "path", "checksum")
        }
        stem = first.id.rpartition("_")[0]
        for number in range(dataset.num_images, count):
            session.add(Image(id=f"{stem}_{number:06d}", path=f"copy-{number}.png", **kept))
        dataset.labels = {first.label: count}
        dataset.num_images = count
