"""The choice of a jvp engine: the jvp rules where they cover the model, else the generic engine.

The chosen engine has been compared, on random images and along a random direction, with
`torch.func.jvp` of the same model, or with finite differences where `torch.func.jvp` fails.
"""

from collections.abc import Callable
from math import sqrt
from typing import NamedTuple

import torch
from torch import Tensor, nn

from tangent.backbones.suffix import Suffix
from tangent.errors import NonFinite, UnsupportedModel
from tangent.jvp.class_token_block import TokenBlock
from tangent.jvp.dual import NoRule
from tangent.jvp.engine import Engine, Tangent, random_direction
from tangent.jvp.forward_mode import Rules
from tangent.jvp.functional import Generic
from tangent.jvp.rounded import Rounded

STEP = 1e-2  # of the difference, relative to the parameters
AGREE = 5e-3  # relative, of J: a pre-activation near 0 may fall on either side of a kink
SAME_PHI = {  # relative, of phi, which has no kinks: a bound for rounding alone
    torch.float32: 3e-5,
    torch.float64: 1e-6,  # some models compute a part of themselves in float32
}

Values = tuple[Tensor, Tensor]  # phi, and J·direction


class Bounds(NamedTuple):
    """The largest relative differences of phi and of J·direction that are no disagreement."""

    phi: float
    along: float


def choose(suffix: Suffix) -> Engine:
    """Return the fastest engine that agrees with an independent derivative.

    Raises:
        UnsupportedModel: a module is in training mode, or no engine can differentiate the model.
        NonFinite: a weight is NaN or Inf.
    """
    check(suffix.model)
    direction = _random(suffix)
    general = Generic(suffix, "")
    expected, failure_of_general = _tried(general, suffix, direction)
    engine, reasons = _first_agreeing(
        suffix, direction, lambda: expected or _difference(suffix, direction)
    )
    if engine is not None:
        return engine
    if expected is None:
        raise UnsupportedModel(
            f"{type(suffix.model).__name__} has no forward derivative: {failure_of_general}; "
            "use scope head, or a model without that operation"
        )
    return Generic(suffix, "; ".join(reasons))


def choose_rounded(suffix: Suffix, whole: Suffix, engine: Engine) -> Rounded:
    """Return the fastest engine of a model in 16 bits that agrees with the model before rounding.

    `whole`, `engine`: of that model, whose derivative is the judge.

    Raises:
        UnsupportedModel: no engine agrees; the message says what failed, or by how much.
    """
    direction = _random(whole)
    expected = engine.push(engine.rows(whole.probe), [engine.prepare(direction)])
    judge, kind = (expected[0], expected[1][0]), suffix.probe.dtype
    bounds = rounding_bounds(kind)
    found, reasons = _first_agreeing(suffix, direction, lambda: judge, bounds)
    if found is None:
        found = Generic(suffix, "; ".join(reasons))
        result, failure = _tried(found, suffix, direction)
        if result is not None and (gap := _gap(result, judge, bounds)):
            failure = f"{gap} would overflow, or differ by more than rounding explains"
        if failure:
            raise UnsupportedModel(
                f"{type(suffix.model).__name__} cannot answer in {str(kind)[6:]}: {failure}; "
                "use precision float32"
            )
    return Rounded(found, whole.base, kind)


def rounding_bounds(kind: torch.dtype) -> Bounds:
    """Return what rounding to this type explains, with ε the gap between 1 and the next number.

    phi is some roundings of ε/2 after each other, which mostly cancel. A pre-activation within ε of
    a kink falls on either side: that is a share ε of all entries, and √ε of the derivative's norm.
    """
    eps = torch.finfo(kind).eps
    return Bounds(4 * eps, sqrt(eps))


def _first_agreeing(
    suffix: Suffix,
    direction: Tangent,
    judge: Callable[[], Values],
    bounds: Bounds | None = None,
) -> tuple[Engine | None, list[str]]:
    """Return the fastest of the engines by rules that agrees, or None and every reason against."""
    reasons = []
    for make in (TokenBlock.of, Rules.of):
        try:
            engine = make(suffix)
        except NoRule as no_rule:
            reasons.append(str(no_rule))
            continue
        if engine is None:
            continue
        result, failure = _tried(engine, suffix, direction)
        if result is None:
            reasons.append(failure)
        elif gap := _gap(result, judge(), bounds):
            reasons.append(f"the rules disagree with {gap} of this model")
        else:
            return engine, reasons
    return None, reasons


def check(model: nn.Module) -> None:
    """Raise UnsupportedModel or NonFinite for a model that is not a fixed smooth function."""
    for name, module in model.named_modules():
        if module.training:
            where = f"{name or 'the model'} ({type(module).__name__})"
            raise UnsupportedModel(
                f"{where} is in training mode, where dropout is active and norms take the batch's "
                "statistics: call model.eval()"
            )
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise NonFinite(f"the backbone's {name} holds NaN or Inf: load other weights")


def _random(suffix: Suffix) -> Tangent:
    return random_direction(suffix.base, torch.Generator().manual_seed(0))


def _tried(
    engine: Engine, suffix: Suffix, direction: Tangent
) -> tuple[tuple[Tensor, Tensor] | None, str]:
    """Return phi and J·direction of the test images, or None with the reason and the module."""
    entered: list[str] = []
    hooks = [
        module.register_forward_pre_hook(lambda _m, _a, name=name: entered.append(name))
        for name, module in suffix.model.named_modules()
    ]
    try:
        rows = engine.rows(suffix.probe)
        phi, along = engine.push(rows, [engine.prepare(direction)])
        return (phi, along[0]), ""
    except (NoRule, RuntimeError, TypeError, NotImplementedError) as error:
        first = str(error).split("\n", 1)[0]
        return None, f"{first} in {entered[-1] if entered else 'the model'}"
    finally:
        for hook in hooks:
            hook.remove()


def _difference(suffix: Suffix, direction: Tangent) -> tuple[Tensor, Tensor]:
    """Return phi and J·direction by a central difference of fourth order."""

    def features(step: float) -> Tensor:
        moved = {name: p + step * direction[name] for name, p in suffix.base.items()}
        return suffix.features(moved, suffix.activation(suffix.probe))

    with torch.no_grad():
        near, far = (features(k * STEP) - features(-k * STEP) for k in (1, 2))
        return features(0.0), (8 * near - far) / (12 * STEP)


def _gap(result: Values, expected: Values, bounds: Bounds | None = None) -> str:
    """Name the part that differs by more than rounding and kinks explain; empty if none does.

    `bounds`: by default those of a model that was not rounded.
    """
    (phi, along), (own_phi, own_along) = result, expected
    most = bounds or Bounds(_same_phi(phi), AGREE)
    if not (phi - own_phi).norm() <= most.phi * own_phi.norm():
        return "the features"
    return "" if (along - own_along).norm() <= most.along * own_along.norm() else "the derivative"


def _same_phi(phi: Tensor) -> float:
    """The bound for phi; that of J where products are rounded more coarsely than phi's type."""
    rounded = torch.backends.cudnn.allow_tf32 or torch.backends.cuda.matmul.allow_tf32
    if phi.is_cuda and phi.dtype == torch.float32 and rounded:
        return AGREE
    return SAME_PHI.get(phi.dtype, AGREE)
