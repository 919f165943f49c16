"""A device that keeps shapes and no numbers, and refuses those of the processor as a GPU does."""

from copy import deepcopy
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import tangent

DEVICE = torch.device("lazy")  # a name of torch's for a device that no machine has


def moved(space: tangent.Space, mode: FakeTensorMode) -> tangent.Space:
    """Return a copy of the space whose tensors all lie on the device."""

    def copied(self: Tensor, memo: dict[int, Tensor]) -> Tensor:
        if id(self) not in memo:
            with mode:
                memo[id(self)] = mode.from_tensor(self).to(DEVICE)
        return memo[id(self)]

    kept = {key: value for key, value in vars(space).items() if key not in ("_heads", "passes")}
    found = object.__new__(type(space))
    parameters = patch.object(nn.Parameter, "__deepcopy__", copied)
    with patch.object(Tensor, "__deepcopy__", copied), parameters:
        vars(found).update(deepcopy(kept))
    found.device, found.passes = DEVICE, None
    return found


class OnlyThere(TorchDispatchMode):
    """Refuses every operation that reads from the processor's memory or writes to it."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        found = function(*args, **(kwargs or {}))
        for each in tree_leaves((args, kwargs, found)):
            if isinstance(each, Tensor) and each.device != DEVICE:
                raise AssertionError(f"{function} uses memory of {each.device}")
        return found
