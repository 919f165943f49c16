"""One case to measure: images dealt by a protocol to parties, at one scope, drawn by one seed."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import tangent
from benchmarks.accuracy.gallery import Gallery, as_images
from benchmarks.accuracy.protocols import Protocol, label_runs

TRAINED = 0.8  # of each label's training images; weights and penalties are chosen by the rest


@dataclass(frozen=True)
class Recipe:
    """The epochs, iterations and tolerances of the iterative methods."""

    epochs: int = 50  # of the papers' recipe, tangent
    plain_epochs: int = 30  # of fine-tuning the network itself
    tolerance: float = 1e-3  # of joint training, on the gradient's size
    component_tolerance: float = 1e-2  # of one party's
    iterations: int = 200  # of the converged solver, at most


@dataclass
class Pool:
    """The images of one seed at one scope, as if nobody had to keep them apart."""

    gallery: Gallery
    scope: str
    seed: int
    recipe: Recipe
    kept: dict[Any, Any] = field(default_factory=dict)  # what several cases of the pool share

    def __post_init__(self) -> None:
        self.train, self.validation = drawn(self.gallery, self.seed)

    def fit(
        self, numbers: Sequence[int] | np.ndarray, settings: dict[str, Any], *, known: bool
    ) -> tangent.TrainingResult:
        """Train a component on these images."""
        space = self.gallery.space(self.scope, known)
        if self.scope not in tangent.LINEAR and settings.get("solver") != "adam":
            recipe, whole = self.recipe, len(numbers) == len(self.train)
            tolerance = recipe.tolerance if whole else recipe.component_tolerance
            by = {"tolerance_of": "gradient", "tolerance": tolerance}
            settings = by | {"max_iterations": recipe.iterations} | settings
        resolved = tangent.Hyperparameters.resolve(self.scope, settings)
        with tempfile.TemporaryDirectory() as scratch:
            return tangent.fit(
                space,
                self.gallery.source(numbers),
                resolved,
                seed=self.seed,
                scratch=Path(scratch),
            )

    def once(self, key: Any, make: Any) -> Any:
        """Return the kept result of `make`, which is called the first time only."""
        if key not in self.kept:
            self.kept[key] = make()
        return self.kept[key]

    def logits(self, delta: tangent.Delta, numbers: np.ndarray, *, known: bool = False) -> Tensor:
        """h (n, K) float64 in the order of the gallery's labels; -inf where the delta has none."""
        space = self.gallery.space(self.scope, known)
        if space.engine is None:  # float64 throughout, for comparisons below float32
            psi = space.readout(as_images(numbers)).double()
            found = psi @ (space.base_rows(delta.labels) + delta.head).T
        else:
            found = space.logits(as_images(numbers), delta).double()
        return self.spread(found, delta.labels)

    def spread(self, found: Tensor, labels: Sequence[str]) -> Tensor:
        """Columns of these labels as columns of all."""
        logits = torch.full((len(found), len(self.gallery.labels)), -torch.inf).double()
        logits[:, [self.gallery.labels.index(name) for name in labels]] = found
        return logits


def drawn(gallery: Gallery, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Of each label's training images a share to train on, and the rest to choose by."""
    generator = np.random.default_rng((1, seed))
    train, rest = [], []
    for label in range(len(gallery.labels)):
        own = generator.permutation(gallery.train[gallery.truth[gallery.train] == label])
        cut = round(TRAINED * len(own))
        train.append(own[:cut])
        rest.append(own[cut:])
    return np.sort(np.concatenate(train)), np.sort(np.concatenate(rest))


@dataclass
class Case:
    """A pool dealt to parties."""

    pool: Pool
    protocol: Protocol

    def __post_init__(self) -> None:
        gallery, train = self.pool.gallery, self.pool.train
        dealt = self.protocol.deal(gallery.truth[train], len(gallery.labels), self.pool.seed)
        self.parts = [train[part] for part in dealt]

    @cached_property
    def components(self) -> list[tangent.TrainingResult]:
        """One component a party, trained on its images alone by default settings; labels known."""
        return self.trained({}, known=True)

    def trained(self, settings: dict[str, Any], *, known: bool) -> list[tangent.TrainingResult]:
        """Train a component for each party on its images alone."""
        return [self.pool.fit(part, settings, known=known) for part in self.parts]

    def accuracy(
        self, logits: Tensor, numbers: np.ndarray | None = None, *, masked: bool = False
    ) -> float:
        """Return the accuracy of answers for the test images, or for the given ones.

        masked: choose among the labels of the image's own party, as in task-incremental protocols.
        """
        gallery = self.pool.gallery
        truth = gallery.truth[gallery.test if numbers is None else numbers]
        if masked:
            runs = label_runs(len(gallery.labels), self.protocol.parties, self.pool.seed)
            logits = logits.masked_fill(torch.from_numpy(foreign(truth, runs)), -torch.inf)
        return float((logits.argmax(1).numpy() == truth).mean())


def foreign(truth: np.ndarray, runs: Sequence[np.ndarray]) -> np.ndarray:
    """For each image and each label, whether the label is in another run than the image's own."""
    group = np.empty(sum(map(len, runs)), dtype=int)
    for party, own in enumerate(runs):
        group[own] = party
    return group[truth][:, None] != group[None, :]
