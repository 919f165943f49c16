"""The process of the bare engine: `open_space`, `compose`, `logits`, and no service around it.

It reads orders from its standard input, a JSON object a line, and prints what each gives. It also
writes what the service is set up with: an untrained backbone, and components with random numbers.
"""

import io
import json
import sys
import time
from pathlib import Path

import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

import tangent
from benchmarks.interleaved import machine
from tangent.backbones.loading import create_untrained
from tangent.components.statistics import measure as statistics_of

LABELS = (("0", "1"), ("2", "3"), ("4", "5"), ("6", "7"), ("8", "9"))  # of each component
SIZE = 0.1  # of a direction, in parts of the parameters' own


class Opened:
    """A space with a composed delta, and images for it."""

    def __init__(self, space: tangent.Space, files: list[bytes]) -> None:
        self.space, self.files = space, files
        self.inputs = [self.decoded(file) for file in files]
        self.delta: tangent.Delta | None = None

    def decoded(self, file: bytes) -> Tensor:
        return self.space.preprocess(Image.open(io.BytesIO(file)).convert("RGB"))

    def answer(self, start: int, count: int, *, from_files: bool) -> None:
        """Compute the logits of so many images."""
        assert self.delta is not None, "compose first"
        chosen = [index % len(self.inputs) for index in range(start, start + count)]
        inputs = [self.decoded(self.files[i]) if from_files else self.inputs[i] for i in chosen]
        self.space.logits(torch.stack(inputs), self.delta)


class BareEngine:
    """The opened spaces by name; each method is an order."""

    def __init__(self) -> None:
        self._opened: dict[str, Opened] = {}

    def machine(self) -> str:
        return machine(torch.get_num_threads())

    def write_backbone(self, architecture: str, path: str) -> None:
        """Write untrained weights, the same ones every time."""
        torch.manual_seed(0)
        save_file(create_untrained(architecture, 0).state_dict(), path)

    def open(self, space: str, backbone: str, scope: str, images: list[str]) -> None:
        files = [Path(path).read_bytes() for path in images]
        self._opened[space] = Opened(tangent.open_space(backbone, scope), files)

    def write_components(self, space: str, folder: str) -> list[str]:
        """Write components with random numbers, as those cost what trained ones do."""
        made = []
        for number, labels in enumerate(LABELS):
            path = Path(folder) / f"{space}-{number}.safetensors"
            _component(self._opened[space], labels, number).save(path)
            made.append(str(path))
        return made

    def compose(self, space: str, components: list[str], rule: str) -> None:
        opened = self._opened[space]
        parts = [(tangent.Component.load(Path(path)), None) for path in components]
        opened.delta = tangent.compose(
            opened.space, parts, rule, shas=[str(n) for n in range(len(parts))]
        )

    def measure(
        self, space: str, batch: int, seconds: float, from_files: bool = False
    ) -> dict[str, float]:
        """Answer batches for so long; return images a second, and CPU milliseconds an image."""
        opened = self._opened[space]
        opened.answer(0, batch, from_files=from_files)
        began, used, images = time.perf_counter(), time.process_time(), 0
        while (took := time.perf_counter() - began) < seconds:
            opened.answer(images, batch, from_files=from_files)
            images += batch
        took = time.perf_counter() - began
        used = time.process_time() - used
        return {"rate": images / took, "cpu_ms": 1000 * used / images}


def _component(opened: Opened, labels: tuple[str, ...], seed: int) -> tangent.Component:
    space, generator = opened.space, torch.Generator().manual_seed(seed)
    base = space.suffix.base if space.suffix else {}
    directions = {
        name: (torch.randn(p.shape, generator=generator) * SIZE).to(p) * p.square().mean().sqrt()
        for name, p in base.items()
    }
    statistics = None
    if space.engine is None:
        psi = space.readout_alone(torch.stack(opened.inputs[: 8 * len(labels)]))
        statistics = statistics_of(psi, [labels[i % len(labels)] for i in range(len(psi))])
    head = torch.randn(len(labels), space.readout_width, generator=generator).double()
    return tangent.Component(
        fingerprint=space.fingerprint,
        scope=space.scope,
        labels=dict.fromkeys(labels, 8),
        head_labels=labels,
        head=head * SIZE,
        backbone=directions,
        statistics=statistics,
        hyperparameters={"beta": 15.0, "l2": 1e-3},
        seed=seed,
        grid=space.stored_grid,
    )


def main() -> None:
    """Obey orders until the input ends."""
    engine = BareEngine()
    for line in sys.stdin:
        order = json.loads(line)
        print(json.dumps(getattr(engine, order.pop("do"))(**order)), flush=True)


if __name__ == "__main__":
    main()
