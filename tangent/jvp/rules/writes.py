"""In-place operations: they change a value's memory and all views of the memory.

A model may use such an operation as a statement and continue with any view of the memory.
"""

from typing import Any

import torch
from torch import Tensor

from tangent.jvp.dual import RULES, Duals, NoRule, Rule, Tangents, overwritten, rule
from tangent.jvp.rules import norms, pointwise, products, structure  # noqa: F401 (their rules are used)

T: Any = Tensor
SAME = [  # `x.name_(…)` writes the result of `x.name(…)`
    *("sub", "mul", "multiply", "div", "addcmul", "abs", "clamp", "cos", "exp", "log", "neg"),
    *("pow", "reciprocal", "relu", "rsqrt", "sigmoid", "sin", "sqrt", "square", "tanh"),
    "masked_fill",
]
OPERATORS = {"__isub__": "sub", "__imul__": "mul", "__itruediv__": "div", "__idiv__": "div"}


def overwriting(plain: Rule) -> Rule:
    """The rule of an operation that writes the result of `plain` into its first argument."""

    def apply(duals: Duals, x: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tangents]:
        return overwritten(duals, x, *plain(duals, x, *args, **kwargs))

    return apply


for _name in SAME:
    _rule = overwriting(RULES[getattr(T, _name)])
    rule(getattr(T, f"{_name}_"))(_rule)
    if hasattr(torch, f"{_name}_"):
        rule(getattr(torch, f"{_name}_"))(_rule)
for _name, _plain in OPERATORS.items():
    if hasattr(T, _name):
        rule(getattr(T, _name))(overwriting(RULES[getattr(T, _plain)]))


@rule(T.add_, T.__iadd__)
def add_(duals: Duals, x: Tensor, y: Any, *, alpha: float = 1) -> tuple[Tensor, Tangents]:
    """J8 in place, without memory for the sum."""
    duals.check_writable(x)
    moved = products.added(duals, x, x, y, alpha)
    x.add_(y, alpha=alpha)
    return x, duals.write(x, moved)


@rule(T.copy_)
def copy_(duals: Duals, x: Tensor, y: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tangents]:
    """ẏ, expanded to x's shape."""
    own = duals.of(y)
    return overwritten(duals, x, y, own and [t.expand(x.shape) for t in own])


@rule(T.zero_, T.fill_)
def fill_(duals: Duals, x: Tensor, value: Any = 0) -> tuple[Tensor, Tangents]:
    """Fill with a constant, whose tangents are zero."""
    if duals.of(value) is not None:
        raise NoRule(T.fill_, "fills with a value that moves")
    return overwritten(duals, x, torch.full_like(x, value), None)
