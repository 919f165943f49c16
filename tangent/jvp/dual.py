"""Forward-mode differentiation by rules: the model's own code runs, each operation with its rule.

A value is an ordinary tensor that may carry tangents, one for each direction pushed at the same
time; the primal part is computed once for all of them. What carries none runs plainly, so a frozen
prefix costs what it costs in a plain pass.

A pass keeps all that it knows in itself: tangents are looked up by the value they belong to, and
nothing is written onto a tensor, which may be the model's own and outlive the pass.
"""

import weakref
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
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


class _Held(weakref.ref[Any]):
    """A value's tangents, for as long as the value lives; None where it was cut off from them."""

    __slots__ = ("key", "tangents")
    key: int
    tangents: Tangents | None


class _Overlay(NamedTuple):
    """The tangents of a whole storage that was written to, each laid out as the storage is."""

    memory: StorageWeakRef  # its address stays taken while this lives
    tangents: Tangents

    def under(self, value: Tensor) -> Tangents:
        """The tangents at the value's place in the storage."""
        if value.dtype != self.tangents[0].dtype:
            raise NoRule(Tensor.view, "reads memory that was written in another type")
        place = value.size(), value.stride(), value.storage_offset()
        return [tangent.as_strided(*place) for tangent in self.tangents]


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
        self._folded_gains = {id(fold.gain) for fold in folds}
        self._seeds = {id(tensor): tangents for tensor, tangents in seeds}
        self._seeded = [tensor for tensor, _ in seeds]
        self.count = len(seeds[0][1]) if seeds else 0
        self._held: dict[int, _Held] = {}  # by the value's id
        self._written: dict[int, _Overlay] = {}  # by the storage's address
        held = self._held

        def forget(gone: Any) -> None:
            held.pop(gone.key, None)

        self._forget = forget

    def of(self, value: Any) -> Tangents | None:
        """The value's tangents; None where it moves with no direction."""
        held = self._held.get(id(value))
        if held is not None:
            return held.tangents
        found = self._seeds.get(id(value))
        if found is None and self._written and isinstance(value, Tensor):
            overlay = self._written.get(_address(value))
            return None if overlay is None else overlay.under(value)
        return found

    def hold(self, value: Any, tangents: Any) -> None:
        """Keep the value's tangents; a list of values takes a list of them."""
        if isinstance(value, Tensor):
            held = _Held(value, self._forget)
            held.key, held.tangents = id(value), tangents
            self._held[held.key] = held
        else:
            for part, its in zip(value, tangents, strict=True):
                self.hold(part, its)

    @cached_property
    def _parameters(self) -> set[int]:
        return {_address(tensor) for tensor in self._seeded}

    def check_writable(self, value: Tensor) -> None:
        """Raise NoRule for a value in the memory of a parameter, which a pass leaves as it is."""
        if _address(value) in self._parameters:
            raise NoRule(Tensor.copy_, "would overwrite a parameter")

    def write(self, value: Tensor, tangents: Tangents) -> Tangents:
        """Give the value that was just written these tangents, and all that shares its memory."""
        storage, own = value.untyped_storage(), [tangent.to(value.dtype) for tangent in tangents]
        sharing = [
            each
            for each in self._moving()
            if each is not value and _address(each) == storage._cdata
        ]
        whole = _alike(value, storage.nbytes(), own)
        overlay = _Overlay(
            StorageWeakRef(storage), own if whole else self._laid(value, own, sharing)
        )
        self._written = {k: v for k, v in self._written.items() if not v.memory.expired()}
        self._written[storage._cdata] = overlay
        for each in sharing:
            self.hold(each, overlay.under(each))
        return own if whole else overlay.under(value)

    def _laid(self, value: Tensor, tangents: Tangents, sharing: Sequence[Tensor]) -> Tangents:
        """The tangents of the value's whole storage after it was written, in new memory."""
        storage = value.untyped_storage()
        before = self._written.get(_address(value))
        laid = []
        for k, tangent in enumerate(tangents):
            whole = value.new_zeros(storage.nbytes() // value.element_size())
            if before is not None:
                whole.copy_(before.tangents[k].as_strided(whole.size(), (1,), 0))
            else:
                for each in sharing:
                    own = self.of(each)
                    if own is not None and each.dtype == value.dtype:
                        _part(whole, each).copy_(own[k])
            _part(whole, value).copy_(tangent)
            laid.append(whole)
        return laid

    def _moving(self) -> Iterator[Tensor]:
        """The values that are still there and carry tangents."""
        for held in list(self._held.values()):
            value = held()
            if value is not None and held.tangents is not None:
                value._fix_weakref()  # torch may be the only one that still holds it
                yield value

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
                if id(_argument(args, kwargs, 3, "weight")) in self._folded_gains:
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
        if kwargs.get("out") is not None:
            raise NoRule(func, "writes its result into another tensor")
        result, tangents = found(self, *args, **kwargs)
        if tangents:
            self.hold(result, tangents)
        return result


def _argument(args: Sequence[Any], kwargs: dict[str, Any], position: int, name: str) -> Any:
    return args[position] if len(args) > position else kwargs.get(name)


def _address(value: Tensor) -> int:
    """The storage's, which all views of one memory have in common."""
    return int(value.untyped_storage()._cdata)


def _alike(value: Tensor, size: int, tangents: Tangents) -> bool:
    """Whether the value is all of its storage of that size, and each tangent lies likewise."""
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
    """Write a result and its tangents into a value's own memory; the value with its tangents."""
    duals.check_writable(value)
    value.copy_(result)
    moved = tangents or [torch.zeros_like(value) for _ in range(duals.count)]
    return value, duals.write(value, moved)
