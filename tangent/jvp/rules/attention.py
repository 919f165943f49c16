"""The rule of scaled dot-product attention, whose kernel in torch has no forward derivative."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from tangent.jvp.dual import Duals, NoRule, Tangents, rule
from tangent.jvp.fused_attention import fused_kernel


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
    """J7: P = softmax(R), R = s·qkᵀ + mask, o = Pv.

    Ṙ = s(q̇kᵀ + qk̇ᵀ) + ṁask, Ṗ = P⊙Ṙ - P⊙rowsum(P⊙Ṙ), ȯ = Ṗv + Pv̇.
    """
    if dropout_p or is_causal or enable_gqa:
        raise NoRule(F.scaled_dot_product_attention, "is causal, grouped or has dropout")
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    kernel = fused_kernel(query, key, value) if attn_mask is None else None
    if kernel is not None:
        return kernel(query, key, value, duals.along(query, key, value), scale)
    # Heads may share one key and value (multi-query attention): the leading axes are broadcast.
    leading = torch.broadcast_shapes(*(x.shape[:-2] for x in (query, key, value)))
    rows = torch.Size((*leading, query.shape[-2]))
    q, k, v = (_batched(x, leading) for x in (query, key, value))
    weights = _softmax(_product(q, k.mT, scale), rows, attn_mask)
    moved = []
    for *along, dm in duals.along(query, key, value, attn_mask):
        if dm is not None:
            dm = dm.expand(*rows, key.shape[-2]).reshape(weights.shape)
        dq, dk, dv = (None if d is None else _batched(d, leading) for d in along)
        part = _moved((q, k, v), weights, (dq, dk, dv), dm, scale)
        moved.append(part.view(*rows, value.shape[-1]))
    return torch.bmm(weights, v).view(*rows, value.shape[-1]), moved


def _moved(
    qkv: tuple[Tensor, Tensor, Tensor],
    weights: Tensor,
    along: Sequence[Tensor | None],
    d_mask: Tensor | None,
    scale: float,
) -> Tensor:
    """ȯ of one direction; q̇, k̇, v̇ and ṁask may be None."""
    q, k, v = qkv
    dq, dk, dv = along
    bent = None if dq is None else _product(dq, k.mT, scale)
    if dk is not None:
        turned = dk.mT
        bent = _product(q, turned, scale) if bent is None else bent.baddbmm_(q, turned, alpha=scale)
    if d_mask is not None:
        bent = d_mask if bent is None else bent + d_mask
    part: Tensor | None = None
    if bent is not None:
        bent = torch.ops.aten._softmax_backward_data(bent, weights, -1, weights.dtype)
        part = torch.bmm(bent, v)
    if dv is not None:
        part = torch.bmm(weights, dv) if part is None else part.baddbmm_(weights, dv)
    return v.new_zeros(*q.shape[:-1], v.shape[-1]) if part is None else part


def _product(a: Tensor, b: Tensor, scale: float) -> Tensor:
    """scale·ab in one operation."""
    return torch.baddbmm(a.new_empty(()), a, b, beta=0, alpha=scale)


def _batched(x: Tensor, leading: torch.Size) -> Tensor:
    """All leading axes as one, in memory of its own, so that no product needs a copy."""
    return x.expand(*leading, *x.shape[-2:]).reshape(-1, *x.shape[-2:]).contiguous()


def _softmax(scores: Tensor, leading: torch.Size, mask: Tensor | None) -> Tensor:
    if mask is not None:
        full = mask.expand(*leading, scores.shape[-1]).reshape(scores.shape)
        scores = (
            scores.masked_fill(~full, -torch.inf) if full.dtype == torch.bool else scores + full
        )
    return scores.softmax(-1)
