"""Scaled dot-product attention: the fused kernel has no forward derivative, this is it."""

import torch
from torch import Tensor
from torch.nn import functional as F

from tangent.dual import Duals, NoRule, Tangents, rule


@rule(F.scaled_dot_product_attention)
def attention(
    duals: Duals,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> tuple[Tensor, Tangents]:
    """P = softmax(R), R = s·qkᵀ + mask, o = Pv.

    Ṙ = s(q̇kᵀ + qk̇ᵀ) + ṁask, Ṗ = P⊙Ṙ - P⊙rowsum(P⊙Ṙ), ȯ = Ṗv + Pv̇.
    """
    if dropout_p or is_causal or enable_gqa:
        raise NoRule(F.scaled_dot_product_attention, "is causal, grouped or has dropout")
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    shape = (*query.shape[:-1], value.shape[-1])
    q, k, v = _batched(query), _batched(key), _batched(value)
    weights = _softmax(_product(q, k.mT, scale), query.shape[:-1], attn_mask)
    moved = []
    for dq, dk, dv, dm in duals.along(query, key, value, attn_mask):
        bent: Tensor | None = None
        if dq is not None:
            bent = _product(_batched(dq), k.mT, scale)
        if dk is not None:
            dk = _batched(dk).mT
            bent = _product(q, dk, scale) if bent is None else bent.baddbmm_(q, dk, alpha=scale)
        if dm is not None:
            dm = dm.expand(*query.shape[:-1], key.shape[-2]).reshape(weights.shape)
            bent = dm if bent is None else bent + dm
        part = torch.zeros(shape).to(value) if bent is None and dv is None else None
        if bent is not None:
            bent = torch.ops.aten._softmax_backward_data(bent, weights, -1, weights.dtype)
            part = torch.bmm(bent, v)
        if dv is not None:
            dv = _batched(dv)
            part = torch.bmm(weights, dv) if part is None else part.baddbmm_(weights, dv)
        assert part is not None
        moved.append(part.view(shape))
    return torch.bmm(weights, v).view(shape), moved


def _product(a: Tensor, b: Tensor, scale: float) -> Tensor:
    """scale·ab in one operation."""
    return torch.baddbmm(a.new_empty(()), a, b, beta=0, alpha=scale)


def _batched(x: Tensor) -> Tensor:
    """All leading axes as one, in memory of its own: every product then runs without a copy."""
    return x.reshape(-1, *x.shape[-2:]).contiguous()


def _softmax(scores: Tensor, leading: torch.Size, mask: Tensor | None) -> Tensor:
    if mask is not None:
        full = mask.expand(*leading, scores.shape[-1]).reshape(scores.shape)
        scores = (
            scores.masked_fill(~full, -torch.inf) if full.dtype == torch.bool else scores + full
        )
    return scores.softmax(-1)
