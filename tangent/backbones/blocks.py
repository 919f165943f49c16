"""A timm model by its blocks: their parameters, and the maps after each."""

import re
from typing import Any

from torch import Tensor

from tangent.backbones.deferred_compiler import compiler_deferred
from tangent.backbones.torchvision_guard import import_torchvision
from tangent.errors import UnsupportedModel

with compiler_deferred():
    import_torchvision()  # timm imports torchvision at import time

    from timm.models import group_parameters


def parameter_blocks(model: Any) -> list[list[str]]:
    """Names of the model's parameters by block, from the input to the output, as timm groups them.

    Parameters after the last numbered block (a final norm, a last convolution) belong to it.

    Raises:
        UnsupportedModel: timm defines no grouping for this model.
    """
    if not hasattr(model, "group_matcher"):
        raise UnsupportedModel(
            f"timm groups no blocks for {type(model).__name__}: use scope head or all"
        )
    matcher = model.group_matcher(coarse=False)
    groups = group_parameters(model, matcher)
    blocks = [list(groups[key]) for key in sorted(groups)]
    while len(blocks) > 1 and not _is_numbered(blocks[-1][0], matcher):
        tail = blocks.pop()
        blocks[-1] += tail
    return blocks


def _is_numbered(name: str, matcher: Any) -> bool:
    """True if timm's patterns find the number of a block in a parameter's name."""
    if not isinstance(matcher, dict):
        return any(part.isdigit() for part in name.split("."))
    specs = [spec for spec in matcher.values() if spec is not None]
    patterns = [
        p for s in specs for p in ([s] if isinstance(s, str) else [pattern[0] for pattern in s])
    ]
    matches = [re.match(pattern, name) for pattern in patterns]
    return any(match is not None and any(match.groups()) for match in matches)


def depths(model: Any, images: Tensor) -> tuple[Tensor, list[Tensor]]:
    """`phi(images)` and the maps (B, C, H, W) after each block, in one plain pass.

    Raises:
        UnsupportedModel: timm gives no intermediate features for this model.
    """
    if not hasattr(model, "forward_intermediates"):
        raise UnsupportedModel(
            f"timm gives no intermediate features for {type(model).__name__}: use scope head"
        )
    final, maps = model.forward_intermediates(images, output_fmt="NCHW")
    return model.forward_head(final), maps
