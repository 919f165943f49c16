"""Forward-mode differentiation by jvp rules: the model's own code runs, with a rule per operation.

A value is an ordinary tensor that may have tangents, one for each direction pushed at the same
time; the primal part is computed once for all directions. Values without tangents run plainly, so a
frozen prefix costs the same as in a plain pass.

The state of a pass lies in the pass: tangents are looked up by their value, and nothing is written
onto a tensor, which may belong to the model and outlive the pass.
"""

import weakref
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from tangent.jvp.apart import Apart

Tangents = list[Tensor]  # one per direction, in the primal's shape
Seed = tuple[Tensor, Tangents | Apart]  # a parameter with its directions
Rule = Callable[..., tuple[Any, Any]]

RULES: dict[Any, Rule] = {}  # operation -> (duals, *its arguments) -> (result, its tangents)
FOLDED = {F.conv1d, F.conv2d, F.conv3d, F.batch_norm}
CONSTANT: set[Any] = set()  # operations whose result does not move with their arguments


def rule(*operations: Any) -> Callable[[Rule], Rule]:
    """Register the decorated function as the rule of these operations."""

    def register(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(operations, function))
        return function

    return register


class NoRule(Exception):
    """Raised where an operation on a value with tangents has no rule."""

    def __init__(self, operation: Any, why: str = "has no rule") -> None:
        self.operation = getattr(operation, "__name__", str(operation))
        super().__init__(f"{self.operation} {why}")


class _Held(weakref.ref[Any]):
    """A value's tangents for as long as the value lives; None if the value was detached."""

    __slots__ = ("key", "tangents")
    key: int
    tangents: Tangents | Apart | None


class _Overlay(NamedTuple):
    """The tangents of a whole storage that was written to, in the layout of the storage."""

    memory: StorageWeakRef  # keeps the address of the storage from reuse
    tangents: Tangents

    def under(self, value: Tensor) -> Tangents:
        """The tangents at the value's place in the storage."""
        if value.dtype != self.tangents[0].dtype:
            raise NoRule(Tensor.view, "reads memory that was written in another type")
        place = value.size(), value.stride(), value.storage_offset()
        return [tangent.as_strided(*place) for tangent in self.tangents]


class Duals(TorchFunctionMode):
    """A mode in which torch's operations also compute tangents.

    An operation without a rule raises NoRule from within the model's code.
    """

    def __init__(self, seeds: Sequence[Seed], folds: Sequence[Any] = ()) -> None:
        """`seeds`: tensors (the parameters), each with the same number of directions, or all apart.

        `folds`: convolutions into which the next batch norm is folded.
        """
        super().__init__()
        self._kernels = {id(fold.weight): (fold.kernel, fold.shift) for fold in folds}
        self._folded_gains = {id(fold.gain) for fold in folds}
        self._seeds = {id(tensor): tangents for tensor, tangents in seeds}
        self._seeded = [tensor for tensor, _ in seeds]
        apart = bool(seeds) and isinstance(seeds[0][1], Apart)
        self.count = 1 if apart else len(cast(Tangents, seeds[0][1])) if seeds else 0
        self._held: dict[int, _Held] = {}  # by the value's id
        self._written: dict[int, _Overlay] = {}  # by the storage's address
        held = self._held

        def forget(gone: Any) -> None:
            held.pop(gone.key, None)

        self._forget = forget

    def of(self, value: Any) -> Tangents | None:
        """The value's tangents; None if it does not depend on the directions.

        Raises:
            NoRule: its directions are apart, and the rule does not know of that.
        """
        found = self.lookup(value)
        if isinstance(found, Apart):
            raise NoRule("a parameter", "has other directions for other images here")
        return found

    def apart(self, value: Any) -> Apart | None:
        """The value's directions if they are apart, else None."""
        found = self.lookup(value)
        return found if isinstance(found, Apart) else None

    def lookup(self, value: Any) -> Tangents | Apart | None:
        """The value's tangents, in either form."""
        held = self._held.get(id(value))
        if held is not None:
            return held.tangents
        tangents = self._seeds.get(id(value))
        if tangents is None and self._written and isinstance(value, Tensor):
            overlay = self._written.get(_address(value))
            return None if overlay is None else overlay.under(value)
        return tangents

    def hold(self, value: Any, tangents: Any) -> None:
        """Store the value's tangents; for a list of values, a list of tangents."""
        if isinstance(value, Tensor):
            held = _Held(value, self._forget)
            held.key, held.tangents = id(value), tangents
            self._held[held.key] = held
        else:
            for part, part_tangents in zip(value, tangents, strict=True):
                self.hold(part, part_tangents)

    @cached_property
    def _parameters(self) -> set[int]:
        return {_address(tensor) for tensor in self._seeded}

    def check_writable(self, value: Tensor) -> None:
        """Raise NoRule for a value in the memory of a parameter, which a pass must not change."""
        if _address(value) in self._parameters:
            raise NoRule(Tensor.copy_, "would overwrite a parameter")

    def write(self, value: Tensor, tangents: Tangents) -> Tangents:
        """Store the tangents of a value after a write, and of all values that share its memory."""
        storage, own = value.untyped_storage(), [tangent.to(value.dtype) for tangent in tangents]
        sharing = [
            other
            for other in self._moving()
            if other is not value and _address(other) == storage._cdata
        ]
        whole = _same_layout(value, storage.nbytes(), own)
        overlay = _Overlay(
            StorageWeakRef(storage), own if whole else self._spread_out(value, own, sharing)
        )
        self._written = {k: v for k, v in self._written.items() if not v.memory.expired()}
        self._written[storage._cdata] = overlay
        for other in sharing:
            self.hold(other, overlay.under(other))
        return own if whole else overlay.under(value)

    def _spread_out(self, value: Tensor, tangents: Tangents, sharing: Sequence[Tensor]) -> Tangents:
        """The tangents of the value's whole storage after a write, in new memory."""
        storage = value.untyped_storage()
        before = self._written.get(_address(value))
        spread = []
        for k, tangent in enumerate(tangents):
            whole = value.new_zeros(storage.nbytes() // value.element_size())
            if before is not None:
                whole.copy_(before.tangents[k].as_strided(whole.size(), (1,), 0))
            else:
                for other in sharing:
                    own = self.of(other)
                    if own is not None and other.dtype == value.dtype:
                        _part(whole, other).copy_(own[k])
            _part(whole, value).copy_(tangent)
            spread.append(whole)
        return spread

    def _moving(self) -> Iterator[Tensor]:
        """Yield the values that are still alive and have tangents."""
        for held in list(self._held.values()):
            value = held()
            if value is not None and held.tangents is not None:
                value._fix_weakref()  # torch may be the only one that still holds it
                yield value

    def any_of(self, arguments: Sequence[Any]) -> bool:
        """True if an argument, or a member of a list among the arguments, has tangents."""
        for value in arguments:
            if isinstance(value, Tensor):
                if self.lookup(value) is not None:
                    return True
            elif isinstance(value, list | tuple) and self.any_of(value):
                return True
        return False

    def along(self, *values: Any) -> list[tuple[Tensor | None, ...]]:
        """For every direction, the tangents of these values; None for a value without tangents.

        Directions that are apart take the rows of the value among these that has rows.
        """
        found = [self.lookup(value) for value in values]
        all_of = [
            [self._beside_rows(each, values, found)] if isinstance(each, Apart) else each
            for each in found
        ]
        return [tuple(t[k] if t is not None else None for t in all_of) for k in range(self.count)]

    def _beside_rows(
        self, directions: Apart, values: Sequence[Any], found: Sequence[Tangents | Apart | None]
    ) -> Tensor:
        """The directions with the rows of the first value that moves, or else that is no number."""
        pairs = [
            (each is None, at, value)
            for at, (value, each) in enumerate(zip(values, found, strict=True))
            if isinstance(value, Tensor) and value.ndim > 1 and not isinstance(each, Apart)
        ]
        beside = directions.beside(min(pairs)[2]) if pairs else None
        if beside is None:
            raise NoRule("a parameter", "meets no rows of images here")
        return beside

    def add_own(
        self, total: Tensor, add: Callable[..., object], x: Tensor, *factors: Any, axis: int = 0
    ) -> Tangents:
        """Have `add` change each group's rows of the total, by those of x and its own directions.

        `add(total, x, *directions)`; of the factors the first one is apart. `axis` counts the rows.
        """
        apart = [self.apart(factor) for factor in factors]
        first = apart[0]
        counts = first.rows(x.shape[axis]) if first and self.apart(x) is None else None
        if first is None or counts is None:
            raise NoRule(add, "has other directions for other images than rules are for")
        groups = zip(total.split(counts, axis), x.split(counts, axis), strict=True)
        for at, (part, rows) in enumerate(groups):
            add(part, rows, *(None if one is None else one.each[at] for one in apart))
        return [total]

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if self._kernels and func in FOLDED:
            if func is F.batch_norm:
                if id(_argument(args, kwargs, 3, "weight")) in self._folded_gains:
                    return args[0]
            elif id(args[1]) in self._kernels:
                kernel, shift = self._kernels[id(args[1])]
                kwargs = {k: v for k, v in kwargs.items() if k != "bias"}
                args = (args[0], kernel, shift, *args[3:])
        if func in CONSTANT or not (self.any_of(args) or self.any_of(list(kwargs.values()))):
            return func(*args, **kwargs)
        rule_of_func = RULES.get(func)
        if rule_of_func is None:
            raise NoRule(func)
        if kwargs.get("out") is not None:
            raise NoRule(func, "writes its result into another tensor")
        result, tangents = rule_of_func(self, *args, **kwargs)
        if tangents:
            self.hold(result, tangents)
        return result


def _argument(args: Sequence[Any], kwargs: dict[str, Any], position: int, name: str) -> Any:
    return args[position] if len(args) > position else kwargs.get(name)


def _address(value: Tensor) -> int:
    """The address of the storage, which all views of one memory share."""
    return int(value.untyped_storage()._cdata)


def _same_layout(value: Tensor, size: int, tangents: Tangents) -> bool:
    """True if the value fills its storage of this size and every tangent has the same layout."""
    strides = value.stride()
    return value.numel() * value.element_size() == size and all(
        tangent.stride() == strides
        and tangent.storage_offset() == 0
        and tangent.untyped_storage().nbytes() == size
        for tangent in tangents
    )


def _part(whole: Tensor, value: Tensor) -> Tensor:
    return whole.as_strided(value.size(), value.stride(), value.storage_offset())


def overwritten(
    duals: Duals, value: Tensor, result: Tensor, tangents: Tangents | None
) -> tuple[Tensor, Tangents]:
    """Write a result and its tangents into a value's own memory; return value and tangents."""
    duals.check_writable(value)
    value.copy_(result)
    moved = tangents or [torch.zeros_like(value) for _ in range(duals.count)]
    return value, duals.write(value, moved)
