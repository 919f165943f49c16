"""DARE (Yu, Yu, Yu, Huang & Li, 2024): drop at random and rescale, then merge.

    d_t = m_t ⊙ delta_t / (1 - drop),      m_t = 0 with probability `drop`, else 1

and then the sum of task arithmetic (`linear`) or the merge of TIES (`ties`). For tangent vectors
the expected logits are exactly those without dropping. What is dropped depends on the seed, the
parent's file and the block or the label alone: not on the other parents, nor on their order. A row
that a parent lacks stays as it is: nothing is dropped there.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from tangent.composition.merging.merge_method import SCALE, Merged, MergeInputs, MergeMethod, Number
from tangent.composition.merging.methods.task_arithmetic import task_arithmetic
from tangent.composition.merging.methods.ties import ties
from tangent.composition.merging.task_vectors import HEAD, Layout, TaskVectors


def dare(
    vectors: TaskVectors,
    *,
    drop: float,
    merge: str,
    density: float,
    scale: float,
    seed: int,
    shas: Sequence[str],
) -> Tensor:
    """The merged vector (P,); `density` is for `ties` alone; `shas` of the parents' files."""
    kept = torch.stack([mask(vectors.layout, drop, seed, sha256) for sha256 in shas])
    rescaled = vectors.with_values(vectors.values * kept / (1 - drop))
    if merge == "linear":
        return task_arithmetic(rescaled, scale=scale)
    return ties(rescaled, density=density, scale=scale)


def mask(layout: Layout, drop: float, seed: int, sha256: str) -> Tensor:
    """The entries (P,) that stay, as 1."""

    def draw(what: str, count: int) -> Tensor:
        digest = hashlib.sha256(f"dare {seed} {sha256} {what}".encode()).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
        return torch.rand(count, generator=generator, dtype=torch.float64) >= drop

    width = layout.shapes[HEAD][1]
    rows = [draw(f"label {label}", width) for label in layout.labels]
    blocks = [
        draw(f"block {name}", shape.numel())
        for name, shape in layout.shapes.items()
        if name != HEAD
    ]
    return torch.cat([*rows, *blocks]).double()


def _merge(inputs: MergeInputs, **settings: Any) -> Merged:
    return dare(inputs.vectors, **settings, seed=inputs.seed, shas=inputs.shas), {}


METHOD = MergeMethod(
    "dare",
    _merge,
    "Yu et al. 2024",
    {"drop": Number(0.9, 0.0, 0.999), "density": Number(1.0, 0.0, 1.0), "scale": SCALE},
    {"merge": ("linear", "ties")},
    weights="positive",
)
