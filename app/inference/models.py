"""Models as plain values: what a process without torch says to an engine, and is told by it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from tangent.backbones.geometry import Geometry
from tangent.components.source import Source
from tangent.vocabulary import PrecisionName

# `mixed`: in batches with other requests' images. `each`: every image in a pass of its own, whose
# bits depend on nothing else. `alone`: in batches of the request's own images, whose bits depend on
# these and on the size of a batch; batches of others come between them.
Company = Literal["mixed", "each", "alone"]
# Of each image, the places of its components in a model and its label there.
Copies = Sequence[Sequence[tuple[int, str]]]
Pixels = Sequence[np.ndarray]  # uint8 (height, width, 3) each, as the space's geometry makes them


class Left(Exception):
    """The client has closed its connection: nobody waits for the answer."""


@dataclass(frozen=True)
class SpaceKey:
    """The arguments by which a space is opened."""

    backbone: str
    scope: str
    declared: tuple[str, ...]
    precision: str  # of answers, as the setting says it: auto among others
    fingerprint: str | None = None  # of a space that there is; an earlier version may have made it


@dataclass(frozen=True)
class OpenedSpace:
    """The properties of an opened space."""

    backbone: str
    scope: str
    declared: tuple[str, ...]
    fingerprint: str
    image_size: int
    parameters_total: int
    parameters_tangent: int
    engine_name: str
    engine_reason: str
    default_rule: str
    license: str | None  # of the backbone's weights
    precision: PrecisionName  # of answers
    geometry: Geometry  # of its images


class Model(NamedTuple):
    """A composition in a space: components with their weights, and the rule that sums them."""

    space: SpaceKey
    parts: tuple[tuple[Source, float | None], ...]
    rule: str


class Calibrated(NamedTuple):
    """The calibration of a model by training images; None with the reason against it."""

    images: int
    temperature: float | None
    no_temperature: str | None
    no_novelty: str | None
    dataset_id: str | None = None  # whose images the temperature was fitted to
    dataset_images: int | None = None


class Passed(NamedTuple):
    """Images that went through a model."""

    labels: tuple[str, ...]
    logits: np.ndarray  # float32 (images, labels)
    compose: float  # seconds in which the model was composed, or found in memory
    queue: float  # seconds until the first batch with the images began
    forward: float  # seconds of the batches with the images
    calibration: Calibrated | None = None  # None: the engine has none, and has passed no image
    novelty: np.ndarray | None = None  # (images,) from 0 to 1


class Logits(NamedTuple):
    """The logits of some images for some labels."""

    labels: tuple[str, ...]
    logits: np.ndarray  # (images, labels)


class Attributed(NamedTuple):
    """An answer taken apart; shares and rests are in the order of the model's parts."""

    base: Logits
    shares: list[np.ndarray]  # (images, labels of the base) each
    rests: list[Logits | None]  # the answer of all other parts; None where there are none


class Effects(NamedTuple):
    """The base's logits, and every component's change of them."""

    base: np.ndarray  # (images, labels)
    moved: list[np.ndarray]


class WeightProblem(NamedTuple):
    """Labelled examples, and the objective of the weights that are to fit them."""

    chunks: list[Effects]
    truth: list[int]  # the column of every image's label
    held_out: list[bool]
    objective: str
    l2: float
    constraint: str
    beta: float


class Weights(NamedTuple):
    """Fitted weights beside equal ones."""

    weights: list[float]
    objective: float
    uniform_objective: float
    holdout_accuracy: float
    uniform_holdout_accuracy: float


class Examined(NamedTuple):
    """A component file's own description."""

    fingerprint: str
    scope: str
    labels: int  # number of labels


class MergePlan(NamedTuple):
    """A merge method, as far as a request for it has to be checked."""

    operator: str
    parameters: dict[str, object]  # with the defaults
    measures_images: bool  # of the parents
    takes_dataset: bool


class Share(NamedTuple):
    """The part of a component's statistics that some images make; see tangent.training.downdate."""

    packed: np.ndarray  # of the Gram matrix
    sums: np.ndarray  # (labels, features)
    counts: dict[str, float]  # images of each label


class Written(NamedTuple):
    """A component file that an engine has written."""

    sha256: str
    size: int  # bytes
    fingerprint: str
    labels: dict[str, int]
    hyperparameters: dict[str, object]
    seed: int
    derived: dict[str, object] | None
    has_statistics: bool
    privacy: dict[str, object] | None = None
