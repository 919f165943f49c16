"""The fingerprint of a backbone: of its architecture, weights, buffers and preprocessing."""

import hashlib
import json
from typing import Any

import torch
from torch import nn


def fingerprint_of(model: nn.Module, preprocessing: dict[str, Any]) -> str:
    """SHA-256 of the architecture, every parameter and buffer, and the preprocessing.

    timm's name of the architecture is included: two architectures may differ in their activations
    or in the number of heads and take the same weights.
    """
    class_name = type(model).__name__
    architecture = (getattr(model, "pretrained_cfg", None) or {}).get("architecture", class_name)
    about = f"{class_name} {architecture}\n{json.dumps(preprocessing, sort_keys=True)}\n"
    digest = hashlib.sha256(about.encode())
    for key, value in sorted(model.state_dict().items()):
        digest.update(f"{key} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(
            value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes()
        )
    return digest.hexdigest()
