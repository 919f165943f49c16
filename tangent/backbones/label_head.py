"""The label head: one pseudo-random row per label, a function of backbone and label name alone.

A row that depended on its position would tie a label to the other labels. Rows from a hash are
defined for any union of label sets, in any order and at any time, and a new label never changes the
row of another.
"""

import hashlib
from collections.abc import Sequence
from math import sqrt

import numpy as np
import torch
from torch import Tensor


def head_rows(fingerprint: str, labels: Sequence[str], width: int) -> Tensor:
    """Weights and bias (K, width + 1) in float64, each entry uniform in ±1/sqrt(width).

    The range is that of torch's default initialisation of a linear layer, as in the papers. The
    entries come from SHAKE-256, so they are the same on every machine.
    """
    rows = torch.empty(len(labels), width + 1, dtype=torch.float64)
    for row, label in zip(rows, labels, strict=True):
        stream = hashlib.shake_256(f"head {fingerprint} {label}".encode()).digest(8 * (width + 1))
        uniform = (np.frombuffer(stream, dtype="<u8") >> np.uint64(11)).astype(
            np.float64
        ) * 2.0**-53
        row.copy_(torch.from_numpy((2 * uniform - 1) / sqrt(width)))
    return rows
