"""Calibrations of selections, kept within a number of bytes and until a deletion."""

from collections import OrderedDict
from collections.abc import Collection, Sequence
from dataclasses import replace
from threading import Lock
from typing import NamedTuple, Self

import numpy as np
import torch

import tangent
from app.inference.engine.makings import Making, Makings
from app.inference.engine.orders import Answers, Order
from app.inference.models import Calibrated, Copies, Model, Passed
from tangent.backbones.features import in_fixed_batches
from tangent.composition.calibration import Calibration, calibrated
from tangent.composition.leave_one_out import Copy
from tangent.spaces.heads import read

OTHER_BYTES = 2**14  # of a calibration besides its leverage and the features
UNJUDGED = Passed((), np.zeros((0, 0), np.float32), 0.0, 0.0, 0.0)  # there is no calibration yet


class Examples(NamedTuple):
    """Features of training images, which serve every model of the same components."""

    psi: torch.Tensor  # (n, D)
    copies: list[list[tuple[str, str]]]  # of each, its components by their hashes, and its labels

    @classmethod
    def of(cls, model: Model, psi: torch.Tensor, copies: Copies) -> Self:
        """Return the examples whose copies are named by places in the model."""
        shas = [source.sha256 for source, _ in model.parts]
        # Equal files are one component twice: each has its images.
        named = (dict.fromkeys((shas[at], label) for at, label in each) for each in copies)
        return cls(psi, [list(each) for each in named])


class Kept(NamedTuple):
    """A calibration, and what it was made from."""

    calibration: Calibration
    examples: Examples

    @property
    def parts(self) -> list[tuple[int, int]]:
        """The parts in memory that others may share, each by its id, with their bytes."""
        leverage = self.calibration.leverage
        own = [(id(self.examples.psi), self.examples.psi.nbytes)]
        return own if leverage is None else [*own, (id(leverage), leverage.nbytes)]


class Calibrations:
    """The calibrations of the models that were asked for last, for any number of threads."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._lock = Lock()
        self._kept: OrderedDict[Model, Kept] = OrderedDict()
        self._makings = Makings()

    def get(self, model: Model) -> Calibration | None:
        """Return the model's calibration, if it is in memory."""
        with self._lock:
            found = self._kept.get(model)
            if found is None:
                return None
            self._kept.move_to_end(model)
            return found.calibration

    def examples(self, model: Model) -> Examples | None:
        """Return what a model of the same components was calibrated by, if it is in memory."""
        with self._lock:
            found = self._alike(model)
            return None if found is None else found.examples

    def _alike(self, model: Model) -> Kept | None:
        members = _members(model)
        alike = (kept for other, kept in self._kept.items() if _members(other) == members)
        return next(alike, None)

    def begin(self, model: Model) -> Making:
        """Begin to calibrate the model."""
        with self._lock:
            return self._makings.begin(_hashes(model))

    def keep(
        self, model: Model, calibration: Calibration, examples: Examples, making: Making
    ) -> None:
        """Keep the calibration unless a deletion has overtaken it since it was begun.

        Those that were asked for longest ago make room. Models of the same components have the
        same leverage: one is kept for all.
        """
        with self._lock:
            if making.is_overtaken:
                return
            alike = self._alike(model)
            if alike is not None and alike.calibration.leverage is not None:
                calibration = replace(calibration, leverage=alike.calibration.leverage)
                examples = alike.examples
            self._kept[model] = Kept(calibration, examples)
            self._kept.move_to_end(model)
            while self._bytes() > self._most_bytes and len(self._kept) > 1:
                self._kept.popitem(last=False)

    def _bytes(self) -> int:
        parts = dict(part for kept in self._kept.values() for part in kept.parts)
        return sum(parts.values()) + OTHER_BYTES * len(self._kept)

    def forget(self, shas: Collection[str]) -> None:
        """Drop every calibration with one of these components."""
        with self._lock:
            self._makings.overtake(shas)
            for model in [model for model in self._kept if _hashes(model) & set(shas)]:
                del self._kept[model]

    def holds(self, shas: Collection[str]) -> bool:
        """Return whether one that is or will be kept has one of these components in it."""
        with self._lock:
            kept = any(_hashes(model) & set(shas) for model in self._kept)
            return kept or self._makings.have(shas)

    def clear(self) -> None:
        """Drop everything."""
        with self._lock:
            self._makings.overtake_all()
            self._kept.clear()


def made(
    space: tangent.Space,
    model: Model,
    components: Sequence[tangent.Component],
    examples: Examples,
) -> Calibration:
    """Calibrate the model by training images."""
    order = sorted(range(len(components)), key=lambda at: _key(model, at))
    parts = [(components[at], model.parts[at][1]) for at in order]
    places: dict[str, list[int]] = {}
    for row, at in enumerate(order):
        places.setdefault(model.parts[at][0].sha256, []).append(row)
    own = [
        [Copy(row, label) for sha256, label in each for row in places[sha256]]
        for each in examples.copies
    ]
    return calibrated(space, parts, model.rule, examples.psi, own)


def readouts(space: tangent.Space, images: torch.Tensor) -> torch.Tensor:
    """Return psi (B, D) as trainings see it, every image's bits independent of the others."""
    engine = space.engine
    if engine is None:
        return space.readout_alone(images).cpu()
    with torch.inference_mode():
        given = images.to(space.device, space.dtype)
        return in_fixed_batches(lambda some: read(engine, engine.rows(some), [])[0], given).cpu()


def facts(calibration: Calibration) -> Calibrated:
    """Return the calibration's numbers as a service shows them."""
    return Calibrated(
        calibration.images,
        calibration.temperature,
        calibration.no_temperature,
        calibration.no_novelty,
    )


def passed_of(
    order: Order, answers: Answers, composed: float, calibration: Calibration | None
) -> Passed:
    """Return an order's answers as plain values, judged by the calibration."""
    seen, novelty = answers.leverages, None
    if calibration is not None and seen is not None:
        novelty = calibration.novelty(seen).numpy()
    return Passed(
        order.delta.labels,
        answers.logits.numpy(),
        *(composed, order.queued, order.forward),
        None if calibration is None else facts(calibration),
        novelty,
    )


def _key(model: Model, at: int) -> tuple[str, str]:
    source, weight = model.parts[at]
    return source.sha256, str(weight)


def _hashes(model: Model) -> set[str]:
    return {source.sha256 for source, _ in model.parts}


def _members(model: Model) -> tuple[object, ...]:
    """Return what decides about the leverage."""
    counted = sorted(source.sha256 for source, weight in model.parts if weight != 0)
    return model.space, *counted
