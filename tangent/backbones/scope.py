"""The parameters that a scope gives a tangent (see `vocabulary`)."""

from torch import nn

from tangent.backbones.blocks import parameter_blocks
from tangent.errors import UnknownScope
from tangent.vocabulary import LINEAR, block_count, scope_fault


def check_scope(scope: str) -> None:
    """Raise UnknownScope unless this is the name of a scope."""
    if fault := scope_fault(scope):
        raise UnknownScope(fault)


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
    count = block_count(scope)
    blocks = parameter_blocks(model)
    if count > len(blocks):
        raise UnknownScope(f"{scope} asks for {count} blocks, the backbone has {len(blocks)}")
    chosen = {name for block in blocks[-count:] for name in block}
    return [name for name in names if name in chosen]
