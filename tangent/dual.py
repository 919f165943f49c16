"""Forward-mode differentiation by rules: the model's own code runs, each operation with its rule.

A value is an ordinary tensor that may carry tangents, one for each direction pushed at the same
time; the primal part is computed once for all of them. What carries none runs plainly, so a frozen
prefix costs what it costs in a plain pass.
"""

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

Tangents = list[Tensor]  # one a direction, each of the primal's shape
Rule = Callable[..., tuple[Any, Any]]

RULES: dict[Any, Rule] = {}  # operation -> (duals, *its arguments) -> (result, its tangents)
FOLDED = {F.conv1d, F.conv2d, F.conv3d, F.batch_norm}
CONSTANT: set[Any] = set()  # operations whose result does not move with their arguments


def rule(*operations: Any) -> Callable[[Rule], Rule]:
    """Registers the rule of these operations."""

    def register(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(operations, function))
        return function

    return register


class NoRule(Exception):
    """An operation on a value with tangents has no rule."""

    def __init__(self, operation: Any, why: str = "has no rule") -> None:
        self.operation = getattr(operation, "__name__", str(operation))
        super().__init__(f"{self.operation} {why}")


class Duals(TorchFunctionMode):
    """While it is entered, torch's operations carry tangents along.

    Raises NoRule at an operation that has none, from within the model's code.
    """

    def __init__(self, seeds: Sequence[tuple[Tensor, Tangents]], folds: Sequence[Any] = ()) -> None:
        """`seeds`: tensors (the parameters) with their directions, equally many each.

        `folds`: convolutions that take up the batch norm behind them.
        """
        super().__init__()
        self._kernels = {id(fold.weight): (fold.kernel, fold.shift) for fold in folds}
        self._taken_up = {id(fold.gain) for fold in folds}
        self._seeds = {id(tensor): tangents for tensor, tangents in seeds}
        self.count = len(seeds[0][1]) if seeds else 0

    def of(self, value: Any) -> Tangents | None:
        """The value's tangents; None where it moves with no direction."""
        if not isinstance(value, Tensor):
            return None
        found = getattr(value, "_tangents", None)
        return self._seeds.get(id(value)) if found is None else found

    def any_of(self, arguments: Sequence[Any]) -> bool:
        """Whether some of these arguments, or members of their lists, carry tangents."""
        for value in arguments:
            if isinstance(value, Tensor):
                if self.of(value) is not None:
                    return True
            elif isinstance(value, list | tuple) and self.any_of(value):
                return True
        return False

    def along(self, *values: Any) -> list[tuple[Tensor | None, ...]]:
        """For each direction, the tangents of these values; None for those without."""
        all_of = [self.of(value) for value in values]
        return [tuple(t[k] if t is not None else None for t in all_of) for k in range(self.count)]

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if self._kernels and func in FOLDED:
            if func is F.batch_norm:
                if id(_argument(args, kwargs, 3, "weight")) in self._taken_up:
                    return args[0]
            elif id(args[1]) in self._kernels:
                kernel, shift = self._kernels[id(args[1])]
                kwargs = {k: v for k, v in kwargs.items() if k != "bias"}
                args = (args[0], kernel, shift, *args[3:])
        if func in CONSTANT or not (self.any_of(args) or self.any_of(list(kwargs.values()))):
            return func(*args, **kwargs)
        found = RULES.get(func)
        if found is None:
            raise NoRule(func)
        result, tangents = found(self, *args, **kwargs)
        return with_tangents(result, tangents)


def _argument(args: Sequence[Any], kwargs: dict[str, Any], position: int, name: str) -> Any:
    return args[position] if len(args) > position else kwargs.get(name)


def with_tangents(value: Any, tangents: Any) -> Any:
    """The value carrying tangents; a list of values takes a list of them."""
    if isinstance(value, Tensor):
        value._tangents = tangents  # type: ignore[attr-defined]
        return value
    for part, its in zip(value, tangents, strict=True):
        with_tangents(part, its)
    return value
