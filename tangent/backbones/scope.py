"""The scope: which parameters get a tangent.

| scope           | tangent parameters                                                          |
|-----------------|-----------------------------------------------------------------------------|
| `head`          | the head                                                                    |
| `head2toe`      | the head and linear readouts of several depths (Evci et al. 2022)           |
| `last-block`    | the head and the last block (TAFT-1 of Liu, Golatkar & Soatto 2024)         |
| `last-N-blocks` | the head and the last N blocks                                              |
| `all`           | every parameter                                                             |
"""

import re

from torch import nn

from tangent.backbones.loading import parameter_blocks
from tangent.errors import UnknownScope

SCOPES = ("head", "head2toe", "last-block", "last-N-blocks", "all")
LINEAR = ("head", "head2toe")  # the output is linear in fixed features: the joint rule is exact


def check_scope(scope: str) -> None:
    """Raises UnknownScope for a name that is none of the scopes."""
    if (scope not in SCOPES and not re.fullmatch(r"last-[1-9]\d?-blocks", scope)) or "N" in scope:
        raise UnknownScope(
            f"no scope is called {scope!r}; choose one of {', '.join(SCOPES)} (N: 1 … 99)"
        )


def tangent_parameters(model: nn.Module, scope: str) -> list[str]:
    """Names of the backbone's parameters that get a tangent, in the model's order.

    Raises:
        UnknownScope: the model has fewer blocks than the scope asks for.
    """
    check_scope(scope)
    if scope in LINEAR:
        return []
    names = [name for name, _ in model.named_parameters()]
    if scope == "all":
        return names
    count = 1 if scope == "last-block" else int(scope.split("-")[1])
    blocks = parameter_blocks(model)
    if count > len(blocks):
        raise UnknownScope(f"{scope} asks for {count} blocks, the backbone has {len(blocks)}")
    chosen = {name for block in blocks[-count:] for name in block}
    return [name for name in names if name in chosen]
