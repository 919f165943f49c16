"""Measures what training costs: peak memory on a large dataset, and time next to a forward pass.

    make bench-training-memory     (or: python -m benchmarks.training_memory --help)

Generated JPEG images of 32 px go through the store like an upload. The memory is that of the real
trainer process, as the kernel counts its peak (resident pages, those of mapped files included). The
time of a training is compared with one plain pass of the backbone over the same images, decoding
and look-ahead included in both, alternately and in the same process; their medians make the ratio.
"""

import argparse
import asyncio
import io
import json
import platform
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import IO, Any

import numpy as np
import torch
from PIL import Image
from rich.console import Console

import tangent
from app.database import migrate
from app.database.jobs import Jobs
from app.database.sessions import open_engine, session_factory, transaction
from app.database.tables import Dataset, Space
from app.datasets import datasets
from app.files.blobs import LocalBlobs
from app.settings import Settings
from app.store import components, lineage, spaces
from training_worker.entries import entries
from training_worker.process import TrainerProcess
from training_worker.source import ImageSource
from training_worker.training import Training

LABELS = 10
BATCH = 64  # of the plain pass; what the training uses
ALLOWED_MIB = 3 * 1024


class Bench:
    """A store of its own with one space at scope head2toe."""

    def __init__(self, folder: Path, backbone: str) -> None:
        self.settings = Settings(
            data_dir=folder / "data", database_url=None, backbone=backbone, scope="head2toe"
        )
        migrate.upgrade(self.settings)
        self.engine = open_engine(self.settings)
        self.sessions = session_factory(self.engine)
        self.blobs = LocalBlobs(self.settings.data_dir / "blobs")
        self.jobs = Jobs(self.settings)
        with transaction(self.sessions) as session:
            spaces.ensure_default(session, lambda: tangent.open_space(backbone, "head2toe"))

    def queue(self, images: int) -> str:
        """A queued component on a new dataset of that many generated images; its id."""
        with tempfile.TemporaryFile() as file:
            write_archive(file, images)
            with (
                datasets.receive(file, self.blobs, self.settings) as upload,
                datasets.store_pack(self.sessions, self.blobs, upload) as pack,
                transaction(self.sessions) as session,
            ):
                dataset_id = datasets.add(session, pack, upload, name="generated").id
        with transaction(self.sessions) as session:
            return lineage.queue_training(
                session,
                self.jobs,
                space=session.get_one(Space, spaces.DEFAULT),
                dataset=session.get_one(Dataset, dataset_id),
                name=None,
                hyperparameters=tangent.Hyperparameters.resolve("head2toe", {}).as_dict(),
                seed=0,
                tags={},
            ).id

    def source(self, component_id: str, space: tangent.Space) -> ImageSource:
        """The images that the component is trained from."""
        with self.sessions() as session:
            component = components.get(session, component_id)
            dataset = datasets.get(session, component.dataset_id or "")
            found = entries(session, dataset.id)
        pack = self.blobs.path(dataset.pack_key)
        return ImageSource(found, pack, space.preprocess, self.settings)

    @contextmanager
    def folder(self, component_id: str) -> Iterator[Path]:
        """A scratch folder for one training."""
        with tempfile.TemporaryDirectory(dir=self.blobs.scratch, prefix=component_id) as name:
            yield Path(name)

    def close(self) -> None:
        self.jobs.close()
        self.engine.dispose()


def write_archive(file: IO[bytes], images: int) -> None:
    """A tar of smooth random 32 px JPEG images, a folder a label."""
    random = np.random.default_rng(0)
    with tarfile.open(fileobj=file, mode="w") as archive:
        for number in range(images):
            small = Image.fromarray(random.integers(0, 256, (8, 8, 3), dtype=np.uint8))
            data = io.BytesIO()
            small.resize((32, 32), Image.Resampling.BICUBIC).save(data, "JPEG", quality=90)
            member = tarfile.TarInfo(f"label{number % LABELS}/{number}.jpg")
            member.size = data.tell()
            data.seek(0)
            archive.addfile(member, data)
    file.seek(0)


def measure_memory(bench: Bench, images: int) -> dict[str, Any]:
    """Peak memory and time of the real trainer on that many images."""
    component_id = bench.queue(images)

    async def train(folder: Path) -> tuple[dict[str, Any], int]:
        trainer = TrainerProcess(bench.settings)
        message = await trainer.train(component_id, folder, lambda _: None)
        peak = peak_kib(trainer.pid or 0)
        await trainer.stop()
        return message, peak

    began = time.perf_counter()
    with bench.folder(component_id) as folder:
        message, peak = asyncio.run(train(folder))
    if message["type"] != "done":
        raise SystemExit(f"the training failed: {message}")
    return {
        "images": images,
        "peak_mib": round(peak / 1024),
        "allowed_mib": ALLOWED_MIB,
        "seconds": round(time.perf_counter() - began, 1),  # with the start of the trainer
        "training_seconds": message["metrics"]["seconds"],
        "component_bytes": message["bytes"],
    }


def peak_kib(pid: int) -> int:
    """The largest resident set that the process ever had."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmHWM")))


def measure_time(bench: Bench, images: int, rounds: int) -> dict[str, Any]:
    """A training's time over that of one plain pass over the same images."""
    component_id, training = bench.queue(images), Training(bench.settings)
    with bench.sessions() as session:
        space = training._open(session.get_one(Space, spaces.DEFAULT))
    source = bench.source(component_id, space)

    def plain() -> None:
        with torch.inference_mode():
            for batch in source.batches(BATCH):
                space.model(batch.to(space.device)).cpu()

    def train() -> None:
        with bench.folder(component_id) as folder:
            training.run(component_id, folder, lambda _: None)

    passes, trainings = [], []
    seconds(plain)  # warm
    for _ in range(rounds):
        passes.append(seconds(plain))
        trainings.append(seconds(train))
    return {
        "images": images,
        "rounds": rounds,
        "plain_pass_seconds": round(median(passes), 2),
        "training_seconds": round(median(trainings), 2),
        "ratio": round(median(trainings) / median(passes), 3),
    }


def seconds(action: Callable[[], None]) -> float:
    """Return the seconds that the call took."""
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def main() -> int:
    """Print both measurements; 1 if the memory is over what is allowed."""
    parser = argparse.ArgumentParser(description="Memory and time of a training at head2toe.")
    parser.add_argument("--images", type=int, default=100_000, help="images of the memory run")
    parser.add_argument("--timed", type=int, default=5_000, help="images of the timed run")
    parser.add_argument("--rounds", type=int, default=3, help="timed passes and trainings")
    parser.add_argument("--backbone", default="resnet_micro_32")
    parser.add_argument("--quick", action="store_true", help="few images, for a look")
    parser.add_argument("--json", action="store_true", help="print JSON alone")
    args = parser.parse_args()
    if args.quick:
        args.images, args.timed, args.rounds = 3_000, 1_000, 1
    with tempfile.TemporaryDirectory(prefix="tangent-bench-") as folder:
        bench = Bench(Path(folder), args.backbone)
        result = {
            "backbone": args.backbone,
            "scope": "head2toe",
            "machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
            "time": measure_time(bench, args.timed, args.rounds),
            "memory": measure_memory(bench, args.images),
        }
        bench.close()
    if args.json:
        print(json.dumps(result, indent=2))
    else:
        report(result, Console(highlight=False))
    return 0 if result["memory"]["peak_mib"] <= ALLOWED_MIB else 1


def report(result: dict[str, Any], console: Console) -> None:
    """Both measurements as sentences."""
    memory, timing = result["memory"], result["time"]
    console.print(f"{result['backbone']}, {result['scope']}, {result['machine']}")
    console.print(
        f"memory: {memory['images']} images trained with a peak of {memory['peak_mib']} MiB "
        f"(allowed {memory['allowed_mib']}) in {memory['seconds']} s"
    )
    console.print(
        f"time: {timing['images']} images trained in {timing['training_seconds']} s, one plain "
        f"pass took {timing['plain_pass_seconds']} s: ratio {timing['ratio']}"
    )


if __name__ == "__main__":
    raise SystemExit(main())
