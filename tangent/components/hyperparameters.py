"""The settings of a training: loss, penalty and solver, with defaults and allowed ranges."""

from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from tangent.errors import BadHyperparameter
from tangent.vocabulary import LINEAR

CHOICES = {
    "loss": ("rsl", "cross_entropy"),
    "penalty": ("squared", "norm"),
    "solver": ("cholesky", "cg", "lbfgs", "adam"),
}
L2_CHOICES = tuple(10.0**power for power in range(-7, 2))
RANGES = {  # inclusive
    "alpha": (1e-3, 1e3),
    "beta": (1e-3, 1e4),
    "l2": (1e-12, 1e4),
    "tolerance": (1e-14, 0.5),
    "max_iterations": (1, 100_000),
    "epochs": (1, 10_000),
    "lr": (1e-8, 10.0),
    "batch_size": (1, 65_536),
    "views": (1, 32),
}


@dataclass(frozen=True)
class Hyperparameters:
    """All settings of a training, resolved.

    loss: rescaled square loss (eq. 4: alpha on the true label, target beta) or cross-entropy.
    l2: mu of the penalty mu/2 |delta|² (`squared`), or of the papers' mu sqrt(1e-6 + |delta|²)
    (`norm`). "auto" sets `choose_l2`: of L2_CHOICES, take the one with the highest evidence (see
    `evidence`). Rule `joint` chooses for the pooled data if all its components have `choose_l2`.
    solver: `cholesky` and `cg` minimise the quadratic exactly, `cg` until the gradient has shrunk
    by `tolerance`; `lbfgs` does so for any loss with the squared penalty; `adam` runs `epochs` over
    batches of `batch_size`, its `lr` cut to a tenth after half and again after four fifths of them,
    as in the papers.
    views: number of views of an image (itself, fixed flips and shifts), each of weight 1/views.
    """

    loss: str = "rsl"
    alpha: float = 1.0
    beta: float = 15.0
    l2: float = 1e-4
    penalty: str = "squared"
    solver: str = "cholesky"
    tolerance: float = 1e-3
    max_iterations: int = 1000
    epochs: int = 50
    lr: float = 1e-3
    batch_size: int = 32
    views: int = 1
    choose_l2: bool = False

    @classmethod
    def resolve(cls, scope: str, given: dict[str, Any]) -> Self:
        """Return the given values, completed by the scope's defaults.

        Raises:
            BadHyperparameter: a name, type, value or combination is not allowed.
        """
        known = {field.name: field.type for field in fields(cls)}
        for name, value in given.items():
            if name not in known:
                raise BadHyperparameter(f"no hyperparameter {name!r}; there are {', '.join(known)}")
            _check(name, value)
        values: dict[str, Any] = dict(given)
        if values.get("l2") == "auto":
            values |= {"l2": cls.l2, "choose_l2": True}
        values.setdefault("l2", 1e-3 if scope == "head2toe" else cls.l2)
        values.setdefault("lr", 1e-2 if scope in LINEAR else 1e-3)
        if values.get("solver", "auto") == "auto":
            values["solver"] = _solver(scope, values)
        for name, value in values.items():
            values[name] = float(value) if known[name] is float else value
        resolved = cls(**values)
        resolved._check_combination(scope)
        return resolved

    def as_dict(self) -> dict[str, Any]:
        """The fields by name, as JSON values."""
        return asdict(self)

    def _check_combination(self, scope: str) -> None:
        quadratic = self.loss == "rsl" and self.penalty == "squared"
        if self.solver in ("cholesky", "cg") and not quadratic:
            raise BadHyperparameter(
                f"solver {self.solver} needs loss rsl and penalty squared; use solver lbfgs or adam"
            )
        if self.solver == "lbfgs" and self.penalty != "squared":
            raise BadHyperparameter("solver lbfgs needs penalty squared; use solver adam")
        if self.choose_l2 and (self.solver != "cholesky" or self.alpha != 1):
            raise BadHyperparameter(
                f'l2 "auto" needs solver cholesky, at scope {" or ".join(LINEAR)}, and alpha 1: '
                "give a number"
            )
        if self.solver == "cholesky" and scope not in LINEAR:
            raise BadHyperparameter(f"solver cholesky needs scope {' or '.join(LINEAR)}; use cg")


def _solver(scope: str, values: dict[str, Any]) -> str:
    if values.get("penalty", "squared") != "squared":
        return "adam"
    if values.get("loss", "rsl") != "rsl":
        return "lbfgs"
    return "cholesky" if scope in LINEAR else "cg"


def _check(name: str, value: Any) -> None:
    if name == "choose_l2":
        if not isinstance(value, bool):
            raise BadHyperparameter(f"choose_l2 is {value!r}; it must be true or false")
        return
    if name == "l2" and value == "auto":
        return
    if name in CHOICES:
        allowed = (*CHOICES[name], "auto") if name == "solver" else CHOICES[name]
        if value not in allowed:
            raise BadHyperparameter(f"{name} is {value!r}; choose one of {', '.join(allowed)}")
        return
    low, high = RANGES[name]
    kind = int if isinstance(low, int) else (int, float)
    number = isinstance(value, kind) and not isinstance(value, bool)
    if not number or not low <= value <= high:  # false for NaN
        what = "a whole number" if kind is int else "a number"
        raise BadHyperparameter(f"{name} is {value!r}; it must be {what} from {low} to {high}")
