"""Freezing: a model whose pass depends on its input and its parameters alone."""

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn


def freeze(model: nn.Module) -> None:
    """Stop the model's training and its caches, and lay it out for fast convolutions."""
    model.eval().requires_grad_(False)
    _disable_bias_caches(model)
    if _gains_from_channels_last(model):
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def _disable_bias_caches(model: nn.Module) -> None:
    """Make timm's attentions compute their biases in each pass.

    In evaluation they keep the biases of an earlier pass, which do not follow a change of the
    parameters, so that a derivative would lack them. A cache that is only replaced comes back when
    the model moves to a device or to another memory format.
    """
    for module in model.modules():
        if hasattr(module, "attention_bias_cache") and hasattr(module, "get_attention_biases"):
            module.get_attention_biases = partial(_attention_biases, module)  # type: ignore[assignment]


def _attention_biases(module: Any, _device: torch.device) -> Tensor:
    biases: Tensor = module.attention_biases[:, module.attention_bias_idxs]
    return biases


def _gains_from_channels_last(model: nn.Module) -> bool:
    """Return True for convolutions in two dimensions; in three there is no such format."""
    flat = all(parameter.ndim < 5 for parameter in model.parameters())
    return flat and any(isinstance(module, nn.BatchNorm2d) for module in model.modules())
