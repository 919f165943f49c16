"""Attention and its derivative in one pass over keys and values, as a kernel written in Triton.

Scores are never stored: a block of queries meets one block of keys after another, with a softmax
that is rescaled as larger scores appear. The derivative goes along: with p the softmax of the
scores s, ṡ their tangent and μ = Σ p ṡ its mean under p,

    o = Σ p v,        ȯ = Σ p (ṡ - μ) v + Σ p v̇.

μ is known only at the end. So the sum is taken about the mean of the keys met so far, and moved
whenever that mean moves: Σ p (ṡ - c') v = Σ p (ṡ - c) v - (c' - c) Σ p v. What is multiplied is
thus always the spread of ṡ, never its level, which 16 bits would not hold. All sums are float32.
"""

from collections.abc import Sequence
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

ROWS, KEYS = 64, 64  # of a block; 16 at least, which is what a product of blocks needs
MAX_WIDTH = 128  # of a head: both sums of a block of queries stay in registers

Along = tuple[Tensor | None, Tensor | None, Tensor | None]  # q̇, k̇, v̇


@triton.jit
def _rows(address, at, count, stride, width: tl.constexpr, padded: tl.constexpr):
    """Read rows of one head, with zeros for tokens and columns that are not there."""
    column = tl.arange(0, padded)
    inside = (at[:, None] < count) & (column[None, :] < width)
    return tl.load(address + at[:, None] * stride + column[None, :], mask=inside, other=0.0)


@triton.jit
def _write(address, at, count, stride, values, width: tl.constexpr, padded: tl.constexpr):
    """Write rows of one head, as the type that lies there."""
    column = tl.arange(0, padded)
    inside = (at[:, None] < count) & (column[None, :] < width)
    place = address + at[:, None] * stride + column[None, :]
    tl.store(place, values.to(address.dtype.element_ty), mask=inside)


@triton.jit
def _scores(queried, key, near, keys, scale, how: tl.constexpr):
    """Return s in units of log 2, for a softmax by powers of two."""
    scores = tl.dot(queried, tl.trans(key), input_precision=how) * (scale * 1.4426950408889634)
    return tl.where(near[None, :] < keys, scores, float("-inf"))


# fmt: off
@triton.jit
def _bent(queried, turned, key, dk, near, keys, dk_token, scale, MOVES_Q: tl.constexpr,
          MOVES_K: tl.constexpr, WIDTH: tl.constexpr, PADDED: tl.constexpr, HOW: tl.constexpr):
    """Return ṡ."""
    bent = tl.zeros([queried.shape[0], key.shape[0]], tl.float32)
    if MOVES_Q:
        bent = tl.dot(turned, tl.trans(key), bent, input_precision=HOW)
    if MOVES_K:
        other = _rows(dk, near, keys, dk_token, WIDTH, PADDED)
        bent = tl.dot(queried, tl.trans(other), bent, input_precision=HOW)
    return bent * scale


# fmt: on
@triton.jit
def _spread(bent, weights, mean, before, total, plain, moved, value, how: tl.constexpr):
    """Return Σ p (ṡ - c') v with this block's keys, about the mean c' that they move to, and c'."""
    centre = (mean * before + tl.sum(weights * bent, 1)) / total
    moved = moved - (centre - mean)[:, None] * plain
    spread = (weights * (bent - centre[:, None])).to(value.dtype)
    return tl.dot(spread, value, moved, input_precision=how), centre


# fmt: off
@triton.jit
def _attention(
    q, k, v, dq, dk, dv, o, do, q_at, k_at, v_at, dq_at, dk_at, dv_at, o_at,
    heads, queries, keys, scale, MOVES_Q: tl.constexpr, MOVES_K: tl.constexpr,
    MOVES_V: tl.constexpr, STORES: tl.constexpr, WIDTH: tl.constexpr, PADDED: tl.constexpr,
    ROWS: tl.constexpr, RUN: tl.constexpr, HOW: tl.constexpr,
):
    """Compute a block of queries of one head, along one direction."""
    batch, head = (tl.program_id(1) // heads).to(tl.int64), (tl.program_id(1) % heads).to(tl.int64)
    at = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    queried = _rows(q + batch * q_at[0] + head * q_at[1], at, queries, q_at[2], WIDTH, PADDED)
    dq += batch * dq_at[0] + head * dq_at[1]
    turned = _rows(dq, at, queries, dq_at[2], WIDTH, PADDED) if MOVES_Q else queried
    k, v = k + batch * k_at[0] + head * k_at[1], v + batch * v_at[0] + head * v_at[1]
    dk, dv = dk + batch * dk_at[0] + head * dk_at[1], dv + batch * dv_at[0] + head * dv_at[1]
    most = tl.full([ROWS], float("-inf"), tl.float32)
    total, mean = tl.zeros([ROWS], tl.float32), tl.zeros([ROWS], tl.float32)
    plain, moved = tl.zeros([ROWS, PADDED], tl.float32), tl.zeros([ROWS, PADDED], tl.float32)
    for low in range(0, keys, RUN):
        near = low + tl.arange(0, RUN)
        key = _rows(k, near, keys, k_at[2], WIDTH, PADDED)
        value = _rows(v, near, keys, v_at[2], WIDTH, PADDED)
        scores = _scores(queried, key, near, keys, scale, HOW)
        larger = tl.maximum(most, tl.max(scores, 1))
        shrunk, weights = tl.exp2(most - larger), tl.exp2(scores - larger[:, None])
        most, before = larger, total * shrunk
        total = before + tl.sum(weights, 1)
        plain, moved = plain * shrunk[:, None], moved * shrunk[:, None]
        if MOVES_Q or MOVES_K:
            bent = _bent(queried, turned, key, dk, near, keys, dk_at[2], scale,
                         MOVES_Q, MOVES_K, WIDTH, PADDED, HOW)
            moved, mean = _spread(bent, weights, mean, before, total, plain, moved, value, HOW)
        weights = weights.to(value.dtype)
        plain = tl.dot(weights, value, plain, input_precision=HOW)
        if MOVES_V:
            value = _rows(dv, near, keys, dv_at[2], WIDTH, PADDED)
            moved = tl.dot(weights, value, moved, input_precision=HOW)
    place = batch * o_at[0] + head * o_at[1]
    if STORES:
        _write(o + place, at, queries, o_at[2], plain / total[:, None], WIDTH, PADDED)
    _write(do + place, at, queries, o_at[2], moved / total[:, None], WIDTH, PADDED)


# fmt: on
def fits(query: Tensor, key: Tensor, value: Tensor) -> bool:
    """Return whether the kernel takes these shapes: (batch, heads, tokens, width)."""
    width = query.shape[-1]
    return (
        query.ndim == key.ndim == value.ndim == 4
        and width == key.shape[-1] == value.shape[-1] <= MAX_WIDTH
        and key.shape[-2] == value.shape[-2] > 0
        and query.dtype == key.dtype == value.dtype
        and query.numel() > 0
    )


def attention(
    query: Tensor, key: Tensor, value: Tensor, moving: Sequence[Along], scale: float
) -> tuple[Tensor, list[Tensor]]:
    """Return o, and ȯ for each (q̇, k̇, v̇) of `moving`; one of them may be None, as if zero.

    Shapes (batch, heads, tokens, width) with heads and batch broadcast; float32, bfloat16 or
    float16, summed in float32. The results lie token by token in memory, with the heads of a token
    side by side, as a block's next product reads them.
    """
    leading = torch.broadcast_shapes(*(x.shape[:2] for x in (query, key, value)))
    q, k, v = (_laid(x, leading) for x in (query, key, value))
    made = [_room(q, leading) for _ in range(1 + len(moving))]
    for number, along in enumerate(moving):
        parts = [None if x is None else _laid(x.to(q.dtype), leading) for x in along]
        _launch((q, k, v), parts, made[0], made[1 + number], scale, stores=not number)
    return made[0], made[1:]


def _laid(x: Tensor, leading: torch.Size) -> Tensor:
    """Return the tensor expanded to the leading axes, with the numbers of a row side by side."""
    return (x if x.stride(-1) == 1 else x.contiguous()).expand(*leading, *x.shape[2:])


def _room(q: Tensor, leading: torch.Size) -> Tensor:
    batch, heads = leading
    return q.new_empty(batch, q.shape[2], heads, q.shape[3]).transpose(1, 2)


def _launch(
    qkv: tuple[Tensor, Tensor, Tensor],
    moving: Sequence[Tensor | None],
    out: Tensor,
    moved: Tensor,
    scale: float,
    *,
    stores: bool,
) -> None:
    q, k, _ = qkv
    given = [own if one is None else one for own, one in zip(qkv, moving, strict=True)]
    strides = [tuple(x.stride()[:3]) for x in (*qkv, *given, out)]
    batch, heads, queries, width = out.shape
    padded = max(16, triton.next_power_of_2(width))
    moves = [x is not None for x in moving]
    run = KEYS if padded <= 64 else KEYS // 2
    rounded = torch.backends.cuda.matmul.allow_tf32 and q.dtype == torch.float32
    numbers: tuple[Any, ...] = heads, queries, k.shape[2], scale
    with torch.accelerator.device_index(q.device.index):
        _attention[(triton.cdiv(queries, ROWS), batch * heads)](
            *(*qkv, *given, out, moved, *strides, *numbers),
            **dict(zip(("MOVES_Q", "MOVES_K", "MOVES_V"), moves, strict=True)),
            **{"WIDTH": width, "PADDED": padded, "ROWS": ROWS, "RUN": run, "STORES": stores},
            HOW="tf32" if rounded else "ieee",
        )
