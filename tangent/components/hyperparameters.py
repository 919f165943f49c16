"""The settings of a training: loss, penalty and solver, with defaults and allowed ranges."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from tangent.errors import BadHyperparameter, UnknownScope
from tangent.vocabulary import LINEAR, scope_fault

CHOICES = {
    "loss": ("rsl", "cross_entropy"),
    "penalty": ("squared", "norm"),
    "solver": ("cholesky", "cg", "lbfgs", "adam"),
    "tolerance_of": ("gradient", "logits", "delta"),
}
L2_CHOICES = tuple(10.0 ** (halves / 2) for halves in range(-12, 4))  # of "auto"
L2_UNCHOSEN = 1e-3  # stands for l2 until it is chosen
FIXED_L2 = {"head2toe": 1e-3}  # where "auto" is not offered; FIXED_L2_ELSEWHERE at other scopes
FIXED_L2_ELSEWHERE = 1e-4
OF_ERROR = 0.05  # the default tolerance of an error
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
    (`norm`). "auto" sets `choose_l2`: of L2_CHOICES, take the one that predicts left-out images
    best (see `cross_validation`), at block scopes by the features that the head reads. It is the
    default with solver `cholesky`, or `cg` at block scopes, and alpha 1, and a fixed number
    elsewhere. Rule `joint` chooses for the pooled data if all its components have `choose_l2`.
    solver: `cholesky` and `cg` minimise the quadratic exactly, `cg` until `tolerance` is reached;
    `lbfgs` minimises any loss with the squared penalty, until its gradient has shrunk by
    `tolerance`; `adam` runs `epochs` over batches of `batch_size`, its `lr` cut to a tenth after
    half and again after four fifths of them, as in the papers.
    tolerance_of: of `cg`, `gradient`: the gradient's size, relative to its first, which bounds no
    error; `delta`: the relative error of delta; `logits`: the same in the objective's own norm, of
    the logits over all images and the penalty (see `error_bound`). `logits` is the default.
    views: number of views of an image (itself, fixed flips and shifts), each of weight 1/views.
    """

    loss: str = "rsl"
    alpha: float = 1.0
    beta: float = 15.0
    l2: float = FIXED_L2_ELSEWHERE
    penalty: str = "squared"
    solver: str = "cholesky"
    tolerance: float = 1e-3
    max_iterations: int = 1000
    epochs: int = 50
    lr: float = 1e-3
    batch_size: int = 32
    views: int = 1
    choose_l2: bool = False
    tolerance_of: str = "gradient"

    @classmethod
    def stored(cls, scope: str, settings: Mapping[str, Any]) -> Self:
        """Return the settings of a component or of a queued training, as they were resolved.

        Those of before there was `tolerance_of` mean the gradient, so that they keep their bytes.

        Raises:
            BadHyperparameter: as `resolve`.
        """
        return cls.resolve(scope, {"tolerance_of": "gradient"} | dict(settings))

    @classmethod
    def resolve(cls, scope: str, given: dict[str, Any]) -> Self:
        """Return the given values, completed by the scope's defaults.

        Raises:
            UnknownScope: no space has such a scope, so its defaults would be another one's.
            BadHyperparameter: a name, type, value or combination is not allowed.
        """
        if fault := scope_fault(scope):
            raise UnknownScope(fault)
        cls.check(given)
        known = {field.name: field.type for field in fields(cls)}
        values: dict[str, Any] = dict(given)
        if values.get("solver", "auto") == "auto":
            values["solver"] = _solver(scope, values)
        if values.get("l2") == "auto":
            values |= {"l2": L2_UNCHOSEN, "choose_l2": True}
        elif "l2" not in values:
            offered = _chooses(scope, values["solver"], values.get("alpha", cls.alpha))
            values.setdefault("choose_l2", offered)
            fixed = FIXED_L2.get(scope, FIXED_L2_ELSEWHERE)
            values["l2"] = L2_UNCHOSEN if values["choose_l2"] else fixed
        if values["solver"] == "cg":
            values.setdefault("tolerance_of", "logits")
            if values["tolerance_of"] != "gradient":
                values.setdefault("tolerance", OF_ERROR)
        values.setdefault("lr", 1e-2 if scope in LINEAR else 1e-3)
        for name, value in values.items():
            values[name] = float(value) if known[name] is float else value
        resolved = cls(**values)
        resolved._check_combination(scope)
        return resolved

    @classmethod
    def check(cls, given: Mapping[str, Any]) -> None:
        """Check each value for itself, whatever the scope.

        Raises:
            BadHyperparameter: a name, type or value is not allowed.
        """
        known = [field.name for field in fields(cls)]
        for name, value in given.items():
            if name not in known:
                raise BadHyperparameter(f"no hyperparameter {name!r}; there are {', '.join(known)}")
            _check(name, value)

    def as_dict(self) -> dict[str, Any]:
        """The fields by name, as JSON values; without `tolerance_of` where it is the gradient.

        So the settings of a component are the same as before there was `tolerance_of`.
        """
        values = asdict(self)
        if self.tolerance_of == "gradient":
            del values["tolerance_of"]
        return values

    def _check_combination(self, scope: str) -> None:
        quadratic = self.loss == "rsl" and self.penalty == "squared"
        if self.solver in ("cholesky", "cg") and not quadratic:
            raise BadHyperparameter(
                f"solver {self.solver} needs loss rsl and penalty squared; use solver lbfgs or adam"
            )
        if self.solver != "cg" and self.tolerance_of != "gradient":
            raise BadHyperparameter(
                f"tolerance_of {self.tolerance_of} needs solver cg, not {self.solver}: leave it out"
            )
        if self.solver == "lbfgs" and self.penalty != "squared":
            raise BadHyperparameter("solver lbfgs needs penalty squared; use solver adam")
        if self.choose_l2 and not _chooses(scope, self.solver, self.alpha):
            raise BadHyperparameter(
                f'l2 "auto" needs alpha 1 and solver cholesky, at scope {" or ".join(LINEAR)}, or '
                "cg, at block scopes: give a number"
            )
        if self.solver == "cholesky" and scope not in LINEAR:
            raise BadHyperparameter(f"solver cholesky needs scope {' or '.join(LINEAR)}; use cg")


def _chooses(scope: str, solver: str, alpha: float) -> bool:
    """True if the penalty can be chosen from the data's sums."""
    return alpha == 1 and solver == ("cholesky" if scope in LINEAR else "cg")


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


def obstacle_to_downdating(scope: str, hyperparameters: Mapping[str, object]) -> str | None:
    """The reason why a component with these settings cannot be downdated; None if it can."""
    if scope not in LINEAR:
        return f"scope {scope} is not linear in fixed features"
    if hyperparameters.get("solver") != "cholesky":
        return f"solver {hyperparameters.get('solver')} iterates; cholesky does not"
    if hyperparameters.get("alpha") != 1:
        return "an alpha other than 1 weights images by their label; the sums have no such weights"
    views = hyperparameters.get("views")
    if not isinstance(views, int) or views & (views - 1):
        return f"sums over {views} views are exact for powers of two only"
    return None
