"""The terms on which a component is private: what was asked for, checked, and what it comes to.

Loads nothing but the standard library, so what must start without torch can import it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

from tangent.components.gaussian_mechanism import mu_of
from tangent.components.hyperparameters import Hyperparameters
from tangent.errors import BadPrivacy
from tangent.vocabulary import LINEAR

MECHANISMS = ("class_sums", "adassp")
UNITS = ("image", "group")
NEIGHBOURS = ("add_remove",)
EPSILONS = (0.05, 20.0)
DELTAS = (1e-12, 1e-2)
MAX_LABELS = 10_000
NO_GROUPS = (
    "no training image has a group, so a unit of privacy that is a group would be a single image: "
    "name groups in the manifest's column `group`, or ask for unit image"
)
SETTINGS = {"solver": "cholesky", "alpha": 1.0, "views": 1, "choose_l2": False}  # hyperparameters
L2 = 1e-4  # unless one is given: a number that looks at no data


@dataclass(frozen=True)
class Privacy:
    """The promise of a private training.

    Data sets that differ by one unit, added or removed, give the component with probabilities that
    differ by a factor of exp(epsilon) at most, but for a chance of delta. A unit is an image, or
    all images of a group: of a patient, say.

    mechanism: `class_sums` adds noise to the sums of features and takes the curvature from images
    that are nobody's; `adassp` adds noise to both, for large datasets (Wang 2018).
    labels: public; images of other labels are not used, and a label without images is released too.
    """

    epsilon: float
    delta: float
    labels: tuple[str, ...]
    mechanism: str = "class_sums"
    unit: str = "image"
    neighbours: str = "add_remove"

    @classmethod
    def resolve(cls, given: dict[str, Any], labels: Sequence[str]) -> Self:
        """Return the given terms, for these public labels.

        Raises:
            BadPrivacy: a name or value is not allowed, or the labels are not 1 … MAX_LABELS.
        """
        known = set(cls.__dataclass_fields__) - {"labels"}
        if unknown := sorted(set(given) - known):
            raise BadPrivacy(f"privacy has no {unknown[0]!r}; it has {', '.join(sorted(known))}")
        for name, choices in (
            ("mechanism", MECHANISMS),
            ("unit", UNITS),
            ("neighbours", NEIGHBOURS),
        ):
            if given.get(name, choices[0]) not in choices:
                raise BadPrivacy(f"{name} is {given[name]!r}; choose one of {', '.join(choices)}")
        for name, (low, high) in (("epsilon", EPSILONS), ("delta", DELTAS)):
            value: Any = given.get(name)
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not number or not low <= value <= high:  # false for NaN
                raise BadPrivacy(
                    f"{name} is {value!r}; it must be a number from {low:g} to {high:g}"
                )
        if not 1 <= len(set(labels)) <= MAX_LABELS:
            raise BadPrivacy(
                f"there are {len(set(labels))} labels; 1 to {MAX_LABELS} can be private"
            )
        numbers = {"epsilon": float(given["epsilon"]), "delta": float(given["delta"])}
        return cls(**(given | numbers), labels=tuple(sorted(set(labels))))

    @classmethod
    def read(cls, given: Any) -> Self:
        """Return the terms of a record that `as_dict` made, checked.

        Raises:
            BadPrivacy: it is none.
        """
        if not isinstance(given, dict) or not isinstance(given.get("labels"), list):
            raise BadPrivacy("the record of the component's privacy is not readable")
        labels = given["labels"]
        if not all(isinstance(label, str) for label in labels):
            raise BadPrivacy("the labels in the record of the component's privacy are not text")
        asked = {k: v for k, v in given.items() if k not in ("labels", "noise_multiplier")}
        terms, claimed = cls.resolve(asked, labels), given.get("noise_multiplier")
        if type(claimed) is not float or not math.isclose(claimed, 1 / terms.mu, rel_tol=1e-6):
            raise BadPrivacy(f"epsilon and delta need a noise multiplier of {1 / terms.mu:.6g}")
        return terms

    @property
    def mu(self) -> float:
        """The privacy of the release as one number, see `gaussian_mechanism`."""
        return mu_of(self.epsilon, self.delta)

    def as_dict(self) -> dict[str, Any]:
        """The terms by name, as JSON values, with `noise_multiplier`: 1 / mu."""
        return asdict(self) | {"labels": list(self.labels), "noise_multiplier": 1 / self.mu}


def private_settings(scope: str, given: Mapping[str, Any]) -> Hyperparameters:
    """Return the resolved settings of a private training; its penalty looks at no data.

    Raises:
        BadHyperparameter: a name, type, value or combination is not allowed.
        BadPrivacy: as `check_settings`.
    """
    settings = Hyperparameters.resolve(scope, {"l2": L2} | dict(given))
    check_settings(scope, settings.as_dict())
    return settings


def check_settings(scope: str, settings: Mapping[str, Any]) -> None:
    """Refuse what looks at the images more than once, or does not end in one solution of sums.

    Raises:
        BadPrivacy: the scope or a resolved hyperparameter cannot be private.
    """
    if scope not in LINEAR:
        raise BadPrivacy(
            f"scope {scope} has no sums to add noise to: use a space of scope {' or '.join(LINEAR)}"
        )
    for name, value in SETTINGS.items():
        if settings.get(name) != value:
            given = "auto" if name == "choose_l2" else settings.get(name)
            raise BadPrivacy(
                f"{'l2' if name == 'choose_l2' else name} is {given!r}, which a private training "
                f"cannot follow: {'give a number' if name == 'choose_l2' else f'use {value!r}'}"
            )
