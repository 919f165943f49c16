"""The declaration of a merge method: its name, paper, parameters and needs, and its function."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

from torch import Tensor

from tangent.components.component import Component
from tangent.composition.merging.task_vectors import Layout, TaskVectors
from tangent.errors import BadDerivation, BadParameter
from tangent.spaces.space import Space
from tangent.training.augmentation import Source
from tangent.training.fit import Progress
from tangent.vocabulary import LINEAR, size_fault

Settings = dict[str, Any]  # parameters by name
Merged = tuple[Tensor, dict[str, Any]]  # the merged vector (P,), and what was measured on the way


class Number(NamedTuple):
    """A parameter that is a number; a whole one where its default is."""

    default: float
    low: float
    high: float


SCALE = Number(0.3, 0.0, 100.0)  # of a sum
MEAN_SCALE = Number(1.0, 0.0, 100.0)  # of a mean
IMAGES = Number(256, 1, 1_000_000)  # of each parent's that are measured on


@dataclass(frozen=True)
class Parent:
    """A component to derive from."""

    component: Component
    weight: float | None = None  # 1 if the method takes weights
    source: Source | None = None  # its images, for methods that measure on them
    sha256: str | None = None  # of its file; of the file that it would have, if not given

    def hash(self) -> str:
        """Return the SHA-256 that the record names the parent by."""
        return self.sha256 or hashlib.sha256(self.component.to_bytes()).hexdigest()


@dataclass(frozen=True)
class MergeInputs:
    """All that a method's function may use; the parents in the order of their files' hashes."""

    space: Space
    parents: Sequence[Parent]
    shas: Sequence[str]
    weights: Sequence[float]
    seed: int
    examples: Source | None
    scratch: Path | None
    progress: Callable[[Progress], None]

    @property
    def components(self) -> list[Component]:
        """The parents' components."""
        return [parent.component for parent in self.parents]

    @cached_property
    def layout(self) -> Layout:
        """The layout of the merged vector."""
        return Layout.of(self.components)

    @cached_property
    def vectors(self) -> TaskVectors:
        """The parents' task vectors: 8 bytes for each entry of each parent."""
        return TaskVectors.of(self.components, self.weights)


@dataclass(frozen=True)
class MergeMethod:
    """A merge method: `merge(inputs, **settings)` gives the merged vector.

    reference: the paper.
    numbers, choices: the parameters; of a choice, the allowed values with the default first.
    fault: what is wrong with settings that are allowed one by one; None if nothing is.
    weights: the weights that parents can have.
    images: the parents' images are needed `always`, or at linear scopes not, where statistics give
    the `gram` matrices of inputs and, for the square loss alone, the `fisher` matrix.
    dataset: the method fits to labelled images.
    reports_progress: the function itself calls `inputs.progress`.
    """

    name: str
    merge: Callable[..., Merged]
    reference: str
    numbers: dict[str, Number] = field(default_factory=dict)
    choices: dict[str, tuple[str, ...]] = field(default_factory=dict)
    fault: Callable[[Settings], str | None] = lambda _: None
    weights: Literal["any", "positive", "none"] = "any"
    images: Literal["never", "gram", "fisher", "always"] = "never"
    dataset: bool = False
    reports_progress: bool = False

    @property
    def measures_images(self) -> bool:
        """True if the method measures on a parent's training images."""
        return self.images != "never"

    def needs_images(self, scope: str, loss: str) -> bool:
        """Return whether a parent of this scope and loss, with statistics, must have its images."""
        if self.images == "gram":
            return scope not in LINEAR
        if self.images == "fisher":
            return scope not in LINEAR or loss == "cross_entropy"
        return self.images == "always"

    def resolve(self, given: Settings) -> Settings:
        """Return the given parameters over the defaults.

        Raises:
            BadParameter: a name, type or value that is not allowed.
        """
        values: Settings = {key: number.default for key, number in self.numbers.items()}
        values |= {key: allowed[0] for key, allowed in self.choices.items()}
        for key, value in given.items():
            if key not in values:
                known = ", ".join(values)
                raise BadParameter(
                    f"operator {self.name} has no parameter {key!r}; there are {known}"
                )
            values[key] = self._checked(key, value)
        if fault := self.fault(values):
            raise BadParameter(fault)
        return values

    def weigh(self, given: Sequence[float | None]) -> list[float]:
        """Return the parents' weights as numbers, 1 for those left out.

        Raises:
            BadDerivation: weights that the method does not take.
        """
        if self.weights == "none" and any(weight is not None for weight in given):
            raise BadDerivation(f"operator {self.name} finds the weights itself: leave them out")
        if self.weights == "positive" and any(
            weight is not None and weight <= 0 for weight in given
        ):
            raise BadDerivation(f"operator {self.name} needs weights above 0")
        weights = [1.0 if weight is None else float(weight) for weight in given]
        for weight in weights:
            if fault := size_fault(weight):
                raise BadDerivation(
                    f"a parent has weight {weight!r}, but operator {self.name} {fault}"
                )
        return weights

    def _checked(self, key: str, value: Any) -> Any:
        if key in self.choices:
            if value not in self.choices[key]:
                allowed = ", ".join(self.choices[key])
                raise BadParameter(f"{key} is {value!r}; choose one of {allowed}")
            return value
        default, low, high = self.numbers[key]
        kind = int if isinstance(default, int) else (int, float)
        number = isinstance(value, kind) and not isinstance(value, bool)
        if not number or not low <= value <= high:  # false for NaN
            what = "a whole number" if kind is int else "a number"
            raise BadParameter(f"{key} is {value!r}; it must be {what} from {low:g} to {high:g}")
        return value if kind is int else float(value)


def of_vectors(formula: Callable[..., Tensor]) -> Callable[..., Merged]:
    """Return the function of a method whose formula takes task vectors and settings alone."""

    def merge(inputs: MergeInputs, **settings: Any) -> Merged:
        return formula(inputs.vectors, **settings), {}

    return merge
