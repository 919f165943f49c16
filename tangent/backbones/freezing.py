"""Freezing: a model whose pass depends on its input and its parameters alone."""

from typing import Any

import torch
from torch import nn


def freeze(model: nn.Module) -> None:
    """Stop the model's training and its caches, and lay it out for fast convolutions."""
    model.eval().requires_grad_(False)
    _disable_bias_caches(model)
    if _gains_from_channels_last(model):
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


class NoCache(dict[Any, Any]):
    """A cache without hits: cached values would not follow a change of the parameters."""

    def __contains__(self, key: object) -> bool:
        return False


def _disable_bias_caches(model: nn.Module) -> None:
    """Disable the caches in which some timm models keep attention biases of an earlier pass."""
    for module in model.modules():
        if isinstance(getattr(module, "attention_bias_cache", None), dict):
            module.attention_bias_cache = NoCache()  # type: ignore[assignment]


def _gains_from_channels_last(model: nn.Module) -> bool:
    """Return True for convolutions in two dimensions; in three there is no such format."""
    flat = all(parameter.ndim < 5 for parameter in model.parameters())
    return flat and any(isinstance(module, nn.BatchNorm2d) for module in model.modules())
