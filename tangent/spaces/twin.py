"""A twin of a space: the same tensors in modules of its own, so that another thread may run it."""

from collections.abc import Sequence
from copy import copy, deepcopy
from dataclasses import replace
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from tangent.backbones.suffix import Suffix
from tangent.errors import BadParameter
from tangent.jvp import Engine, Prepared
from tangent.jvp.class_token_block import TokenBlock
from tangent.jvp.compiled.directions import Directions
from tangent.jvp.compiled.passes import COMPILED, Passes
from tangent.jvp.compiled.recorder import CudaGraphs, Outputs, PlainCalls
from tangent.jvp.compiled.recording import PUSH, ROWS
from tangent.jvp.engine import random_direction
from tangent.jvp.forward_mode import Rules
from tangent.jvp.functional import Generic
from tangent.spaces.answering import Answering

COMPILE = ("auto", "on", "off")
# The error that rounding in another order explains, relative to the norm: of psi, where an entry
# may fall to the next step of a grid, and of J, where a value near 0 may fall on either side of a
# kink.
OF_PSI = {torch.float32: 1e-3, torch.float64: 1e-9}
OF_DERIVATIVE = {torch.float32: 5e-3, torch.float64: 1e-9}
OF_HALF = 3e-2  # of both, of a backbone that itself is in 16 bits


def passes_of(space: Answering, compile: str) -> Passes | None:
    """Return the faster passes of a space, none of which is made yet; None where there are none.

    Raises:
        BadParameter: `compile` is none of COMPILE.
    """
    if compile not in COMPILE:
        raise BadParameter(f"compile is {compile!r}: use {', '.join(COMPILE)}")
    is_cuda = space.device.type == "cuda"
    if compile == "off" or (compile == "auto" and not is_cuda):
        return None
    if is_cuda:
        return Passes(lambda: Twin(space), CudaGraphs(space.device))
    return Passes(lambda: Twin(space), PlainCalls(), (COMPILED,))


class Twin:
    """The source of a space's faster passes."""

    def __init__(self, space: Answering) -> None:
        """Nothing may run the space meanwhile: its modules are copied, their tensors are not."""
        self._space = _over_copies(space)
        self._random = torch.Generator().manual_seed(0)

    def given(self, size: int, part: str) -> Tensor:
        side = self._space.image_size
        drawn = torch.rand((size, 3, side, side), generator=self._random)
        images = drawn.to(self._space.device, self._space.dtype)
        return self._space.rows(images) if part == PUSH else images

    def directions(self, count: int) -> Directions:
        return Directions([self._direction() for _ in range(count)])

    def _direction(self) -> Prepared:
        """Return a random direction that is about as large as the parameters."""
        suffix, engine = self._space.suffix, self._space.answerer
        assert suffix is not None and engine is not None
        return engine.prepare(random_direction(suffix.base, self._random))

    def passed(self, given: Tensor, prepared: Sequence[Prepared], part: str) -> Outputs:
        rows = given if part == PUSH else self._space.rows(given)
        if part == ROWS:
            return [rows]
        psi, pushed = self._space.push(rows, prepared)
        return [psi, *pushed]

    def tolerances(self, outputs: Outputs) -> list[float]:
        _, *pushed = outputs  # rows, like psi, are values that no kink tears apart
        dtype, narrow = self._space.dtype, self._space.narrow
        own = OF_PSI.get(dtype, OF_HALF), OF_DERIVATIVE.get(dtype, OF_HALF)
        of_psi, along = narrow.bounds if narrow else own
        return [of_psi] + [along] * len(pushed)


def _over_copies(space: Answering) -> Answering:
    """Return the space over modules of its own, with an engine of its own."""
    found = copy(space)
    found.passes, found._heads = None, WeakKeyDictionary()
    found.model = _copied(space.model)
    if space.suffix is not None and space.engine is not None:
        model = found.model
        if space.suffix.model is not space.model:
            model = _copied(space.suffix.model)
        found.suffix = Suffix(replace(space.pretrained, model=model), list(space.suffix.base))
        found.engine = _engine_over(space.engine, found.suffix)
    if space.narrow is not None:
        found.narrow = space.narrow.over(_copied, _engine_over)
    return found


def _copied(model: nn.Module) -> nn.Module:
    """Return the model in modules of its own, with the same parameters and buffers."""
    return deepcopy(model, {id(each): each for each in (*model.parameters(), *model.buffers())})


def _engine_over(engine: Engine, suffix: Suffix) -> Engine:
    """Return an engine of the same kind over another suffix."""
    if isinstance(engine, TokenBlock):
        found = TokenBlock.of(suffix)
        assert found is not None, "the copy of a model has the model's last block"
        return found
    return Rules.of(suffix) if isinstance(engine, Rules) else Generic(suffix, engine.reason)
