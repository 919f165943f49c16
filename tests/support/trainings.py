"""Components as `tangent.fit` trains them: of the same data, settings and seed only once.

Such trainings give the same bytes, which the tests of `tangent` prove. Tests of the service that
compare trainings with each other make each of them twice, see the fixture `trained_twice`.
"""

import hashlib
import shutil
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import torch

import tangent
from app.images import image_files


@dataclass(frozen=True)
class Trained:
    """A component's file and what the training worker stores with it."""

    path: Path
    sha256: str
    labels: dict[str, int]
    metrics: dict[str, Any]


def saved(fitted: tangent.TrainingResult, scratch: Path) -> Trained:
    """Write the component's file into the folder."""
    path = scratch / "component.safetensors"
    sha256 = fitted.component.save(path)
    return Trained(path, sha256, dict(fitted.component.labels), fitted.metrics)


class Pixels:
    """A dataset as the source that `tangent.fit` reads, made by code of its own."""

    def __init__(
        self, space: tangent.Space, files: Sequence[tuple[str, bytes]], limits: Any
    ) -> None:
        self.labels = [label for label, _ in files]
        self._images = [space.preprocess(image_files.decode(data, limits)) for _, data in files]

    def batches(self, size: int) -> Iterator[torch.Tensor]:
        for start in range(0, len(self._images), size):
            yield torch.stack(self._images[start : start + size])


class Trainings:
    """Trains, and keeps every component's file in a folder; without a folder, none."""

    def __init__(self, folder: Path | None = None, times: int = 1) -> None:
        """Each component is trained so many times, then its files are given out in turn."""
        self._folder, self._times = folder, times
        self._known: dict[tuple[tangent.Space, str], deque[Trained]] = {}

    def train(
        self,
        space: tangent.Space,
        files: Sequence[tuple[str, bytes]],
        settings: tangent.Hyperparameters,
        *,
        seed: int,
        limits: Any,
        scratch: Path,
        privacy: dict[str, Any] | None = None,
        units: Sequence[Any] | None = None,
    ) -> Trained:
        """Train on the images of these labels; the file lies in the scratch folder."""
        if privacy is not None:  # new each time
            terms = tangent.Privacy.read(privacy)
            given: dict[str, Any] = {"seed": seed, "scratch": scratch, "privacy": terms}
            given["units"] = units
            return saved(
                tangent.fit(space, Pixels(space, files, limits), settings, **given), scratch
            )
        contents = [(label, hashlib.sha256(data).hexdigest()) for label, data in files]
        key = space, repr((settings.as_dict(), seed, contents))
        known = self._known.setdefault(key, deque())
        if len(known) < self._times:
            pixels = Pixels(space, files, limits)
            fitted = tangent.fit(space, pixels, settings, seed=seed, scratch=scratch)
            trained = saved(fitted, scratch)
            if self._folder is not None:
                kept = shutil.copyfile(trained.path, self._folder / f"{uuid4()}.safetensors")
                known.append(replace(trained, path=kept))
            return trained
        known.rotate(-1)
        path = Path(shutil.copyfile(known[-1].path, scratch / "component.safetensors"))
        return replace(known[-1], path=path)
