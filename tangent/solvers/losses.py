"""The losses as functions of logits (B, K) and target columns (B,): their value and gradient.

Both losses are means over the batch; the rescaled square loss is also a mean over labels (eq. 4).
"""

from typing import TypeVar

import torch
from torch import Tensor
from torch.nn import functional as F

Number = TypeVar("Number", float, Tensor)  # of 64 bits: Python's, or one that lies on a device


def rsl(logits: Tensor, targets: Tensor, alpha: float, beta: float) -> tuple[Tensor, Tensor]:
    """(1/K)[alpha (h_y - beta)² + sum over the other labels of h_k²] and its gradient (eq. 4)."""
    target, weight = rsl_target(logits, targets, alpha, beta)
    residual = logits - target
    size = logits.numel()
    return (weight * residual**2).sum() / size, 2 * weight * residual / size


def rsl_target(logits: Tensor, targets: Tensor, alpha: float, beta: float) -> tuple[Tensor, Tensor]:
    """Target logits (beta at the true label, else 0) and weights (alpha, else 1), both (B, K)."""
    true = _indicators(targets, logits)
    return beta * true, 1 + (alpha - 1) * true


def cross_entropy(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Cross-entropy and its gradient, softmax minus one-hot over the batch size."""
    gradient = (logits.softmax(1) - _indicators(targets, logits)) / len(logits)
    return F.cross_entropy(logits, targets), gradient


def squared_penalty(norm2: Number, mu: float) -> Number:
    """mu/2 |delta|² of a squared norm; its gradient is mu·delta."""
    return 0.5 * mu * norm2


def norm_penalty(norm2: Number, mu: float) -> Number:
    """The papers' mu sqrt(1e-6 + |delta|²) of a squared norm (eq. 5)."""
    length: Number = (1e-6 + norm2) ** 0.5
    return mu * length


def penalty_slope(penalty: str, norm2: float | Tensor, mu: float) -> float | Tensor:
    """The factor of delta in the penalty's gradient."""
    return mu if penalty == "squared" else mu / (1e-6 + norm2) ** 0.5


def argmax_accuracy(logits: Tensor, targets: Tensor) -> float:
    """The share of rows whose largest logit is in the target column."""
    return (logits.argmax(1) == targets).to(torch.float64).mean().item()


def _indicators(targets: Tensor, logits: Tensor) -> Tensor:
    """1 at the true label of each row, else 0; `one_hot` would wait for the device."""
    labels = torch.arange(logits.shape[1], device=targets.device)
    return (targets.unsqueeze(1) == labels).to(logits)
