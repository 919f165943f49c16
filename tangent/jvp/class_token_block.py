"""The jvp engine of a ViT's last block when only the class token is read: J as plain products.

Nothing before the block moves, so the constants of an image are computed once: the normalised
tokens n, and for the class token its query q, scores p, mean token c = Σ p·n and so on to phi. J
and Jᵀ are then a handful of matrix products over single rows, in `class_token_output`'s algebra.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional as F

from tangent.backbones.suffix import Suffix
from tangent.jvp.class_token_attention import class_token_block
from tangent.jvp.directions_of_rows import Own, Product, each_by_its_own, every_by
from tangent.jvp.engine import Tangent
from tangent.jvp.groups import groups_of
from tangent.jvp.layer_norm_folding import BlockParameters, Folded


@dataclass(frozen=True)
class Constants:
    """The constants of J for B images; `x̂` is normalised, `r` is 1/deviation."""

    tokens: Tensor  # n (B, N, d), the block's normalised input
    token_mean: Tensor  # (B, N, 1); with the scale it restores the input
    token_scale: Tensor  # r (B, N, 1)
    query: Tensor  # q (B, H, s), scaled
    scores: Tensor  # p (B, H, N)
    seen: Tensor  # c = p·n (B, H, d)
    out: Tensor  # o = W_v c + b_v (B, H·s)
    attended: Tensor  # W_o o + b_o (B, d), before its layer scale
    middle: Tensor  # m (B, d), the normalised class token between attention and MLP
    middle_scale: Tensor  # r (B, 1)
    slope: Tensor  # GELU'(z) (B, h), J5
    hidden: Tensor  # GELU(z) (B, h)
    answered: Tensor  # W_2 GELU(z) + b_2 (B, d), before its layer scale
    last: Tensor  # t (B, d), the normalised class token at the end
    last_scale: Tensor  # r (B, 1)
    phi: Tensor  # (B, d)


class TokenBlock:
    """J and Jᵀ at scope `last-block`."""

    name = "rules"
    reason = "the last block is computed for the class token alone"

    def __init__(self, suffix: Suffix, block: Any, prefix: str) -> None:
        """`prefix`: the block's name in the model, with a dot."""
        self._block, self._last = block, cast(Any, suffix.model).norm
        self.suffix = suffix
        self._parameters = BlockParameters({n: suffix.exact[n] for n in suffix.base}, prefix)
        self._type = suffix.probe.dtype
        self._folded = self._parameters.folded.to(self._type)
        attention = block.attn
        self._heads, self._size = attention.num_heads, attention.head_dim
        self._scale = attention.scale
        with torch.no_grad():
            probe = self._primal(suffix.activation(suffix.probe[:1]))
        self._shapes = {f.name: getattr(probe, f.name).shape[1:] for f in fields(Constants)}

    @classmethod
    def of(cls, suffix: Suffix) -> "TokenBlock | None":
        """Return the engine if the suffix is exactly such a block with the last norm, else None."""
        model: Any = suffix.model
        block: Any = class_token_block(model)
        entry: Any = suffix.entry
        if block is None or entry is not block:
            return None
        prefix = next(n for n, m in model.named_modules() if m is block) + "."
        own = {n for n, _ in model.named_parameters() if n.startswith((prefix, "norm."))}
        norms = {f"{prefix}{n}.{p}" for n in ("norm1", "norm2") for p in ("weight", "bias")}
        whole = own == set(suffix.base) and norms | {"norm.weight", "norm.bias"} <= own
        smooth = isinstance(block.mlp.act, torch.nn.GELU) and block.mlp.act.approximate == "none"
        plain = isinstance(block.mlp.norm, torch.nn.Identity) and not model.fc_norm.state_dict()
        return cls(suffix, block, prefix) if whole and smooth and plain else None

    def rows(self, images: Tensor) -> Tensor:
        """Return the constants of every image, concatenated to one row of floats."""
        with torch.no_grad():
            constants = self._primal(self.suffix.activation(images))
            return torch.cat([getattr(constants, name).flatten(1) for name in self._shapes], dim=1)

    def activation(self, rows: Tensor) -> Tensor:
        at = self._constants(rows)
        return at.tokens / at.token_scale + at.token_mean

    def prepare(self, direction: Tangent) -> Folded:
        return self._parameters.fold(direction).to(self._type)

    def push(self, rows: Tensor, prepared: Sequence[Folded]) -> tuple[Tensor, list[Tensor]]:
        with torch.no_grad():
            constants = self._constants(rows)
            if not prepared:
                return constants.phi, []
            along = self._along(constants, every_by(prepared))
            return constants.phi, list(along.unbind(1))

    def push_own(
        self, rows: Tensor, prepared: Sequence[Folded], own: Sequence[int]
    ) -> tuple[Tensor, Tensor]:
        groups = groups_of(own, rows.device)
        with torch.no_grad():
            at = self._constants(rows[groups.order])
            used = [prepared[which] for which in groups.which]
            along = self._along(at, each_by_its_own(used, groups.sizes))
            return groups.back(at.phi), groups.back(along.squeeze(1))

    def pull(self, rows: Tensor, cotangent: Tensor) -> tuple[Tensor, Tangent]:
        with torch.no_grad():
            constants = self._constants(rows)
            gradient = self._back(constants, cotangent.to(rows.dtype))
            return constants.phi, self._parameters.unfold(gradient)

    def _constants(self, rows: Tensor) -> Constants:
        widths = [shape.numel() for shape in self._shapes.values()]
        parts = zip(rows.split(widths, dim=1), self._shapes.values(), strict=True)
        return Constants(*(part.unflatten(1, shape) for part, shape in parts))

    def _primal(self, tokens: Tensor) -> Constants:
        base, block = self._folded, self._block
        normal, mean, scale = _normalised(tokens, block.norm1.eps)
        wq, wk, wv, bq, bv = self._by_head(*base.qkv)
        query = (F.linear(normal[:, 0], wq.flatten(0, 1), bq) * self._scale).view(
            len(tokens), self._heads, self._size
        )
        asked = _each_head(query, wk)
        scores = torch.softmax(torch.bmm(asked, normal.mT), -1)
        seen = torch.bmm(scores, normal)
        out = _each_head(seen, wv.mT).flatten(1) + bv
        attended = F.linear(out, *base.proj)
        token = tokens[:, 0] + (attended if base.ls1 is None else base.ls1 * attended)
        middle, _, middle_scale = _normalised(token, block.norm2.eps)
        before = F.linear(middle, *base.fc1)
        hidden = F.gelu(before)
        slope = torch.ops.aten.gelu_backward(torch.ones_like(before), before)
        answered = F.linear(hidden, *base.fc2)
        token = token + (answered if base.ls2 is None else base.ls2 * answered)
        last, _, last_scale = _normalised(token, self._last.eps)
        gain, shift = base.last
        return Constants(
            tokens=normal,
            token_mean=mean.to(normal),
            token_scale=scale.to(normal),
            query=query,
            scores=scores,
            seen=seen,
            out=out,
            attended=attended,
            middle=middle,
            middle_scale=middle_scale.to(middle),
            slope=slope,
            hidden=hidden,
            answered=answered,
            last=last,
            last_scale=last_scale.to(last),
            phi=torch.addcmul(shift, last, gain),
        )

    def _along(self, at: Constants, own: Own) -> Tensor:
        """J·d (B, K, d) of the K directions of a row: J7 as ṗ = p⊙(ṡ - Σpṡ), ċ = ṗ·n, so on.

        What the base's matrices multiply is one product for all; `own` are those of a direction.
        """
        base = self._folded
        _, wk, wv, _, _ = self._by_head(*base.qkv)
        d_query = own(self._query_along, at.tokens[:, 0])
        d_query = (d_query * self._scale).view(-1, *at.query.shape[1:])
        by_key = own(self._key_along, at.query)
        by_value = own(self._value_along, at.seen)
        d_asked = _each_head(d_query, wk).view(by_key.shape) + by_key
        d_scores = _softmax_along(self._read(d_asked, at.tokens.mT), at.scores.unsqueeze(1))
        d_seen = self._read(d_scores, at.tokens).flatten(0, 1)
        d_out = _each_head(d_seen, wv.mT).reshape(by_value.shape) + by_value
        d_attended = F.linear(d_out, base.proj[0]) + own(_through("proj"), at.out)
        d_token = _scaled(d_attended, at.attended, base.ls1, own, "ls1")
        d_middle = _norm_along(d_token, at.middle.unsqueeze(1), at.middle_scale.unsqueeze(1))
        d_before = F.linear(d_middle, base.fc1[0]) + own(_through("fc1"), at.middle)
        d_answered = F.linear(at.slope.unsqueeze(1) * d_before, base.fc2[0])
        d_answered = d_answered + own(_through("fc2"), at.hidden)
        d_token = d_token + _scaled(d_answered, at.answered, base.ls2, own, "ls2")
        d_last = _norm_along(d_token, at.last.unsqueeze(1), at.last_scale.unsqueeze(1))
        affine = own(lambda d, last: torch.addcmul(d.last[1], last, d.last[0]), at.last)
        return d_last * base.last[0] + affine

    def _query_along(self, d: Folded, first: Tensor) -> Tensor:
        inner = self._heads * self._size
        return F.linear(first, d.qkv[0][:inner], d.qkv[1][:inner])

    def _key_along(self, d: Folded, query: Tensor) -> Tensor:
        return _each_head(query, d.qkv[0].view(3, self._heads, self._size, -1)[1])

    def _value_along(self, d: Folded, seen: Tensor) -> Tensor:
        by_head = d.qkv[0].view(3, self._heads, self._size, -1)[2]
        shift = d.qkv[1][2 * self._heads * self._size :]
        return _each_head(seen, by_head.mT).flatten(1) + shift

    def _read(self, rows: Tensor, tokens: Tensor) -> Tensor:
        """rows (B, K, H, i) times the matrix (B, i, j) of their image."""
        return torch.bmm(rows.flatten(1, 2), tokens).view(*rows.shape[:3], -1)

    def _back(self, at: Constants, cotangent: Tensor) -> Folded:
        """Jᵀ·cotangent: the same products in reverse; b_k has none, as it moves no score."""
        base = self._folded
        _, wk, wv, _, _ = self._by_head(*base.qkv)
        last = ((at.last * cotangent).sum(0), cotangent.sum(0))
        token = _norm_along(cotangent * base.last[0], at.last, at.last_scale)
        ls2 = None if base.ls2 is None else (at.answered * token).sum(0)
        answered = token if base.ls2 is None else token * base.ls2
        before = (answered @ base.fc2[0]) * at.slope
        token = token + _norm_along(before @ base.fc1[0], at.middle, at.middle_scale)
        ls1 = None if base.ls1 is None else (at.attended * token).sum(0)
        attended = token if base.ls1 is None else token * base.ls1
        out = (attended @ base.proj[0]).view(at.query.shape)
        seen = _each_head(out, wv)
        asked = torch.bmm(_softmax_along(torch.bmm(seen, at.tokens.mT), at.scores), at.tokens)
        query = (_each_head(asked, wk.mT) * self._scale).flatten(1)
        g_wk = torch.bmm(at.query.permute(1, 2, 0), asked.transpose(0, 1))
        g_wv = torch.bmm(out.permute(1, 2, 0), at.seen.transpose(0, 1))
        g_qkv = torch.cat([query.T @ at.tokens[:, 0], g_wk.flatten(0, 1), g_wv.flatten(0, 1)])
        g_bias = torch.cat([query.sum(0), torch.zeros_like(query[0]), out.flatten(1).sum(0)])
        return Folded(
            qkv=(g_qkv, g_bias),
            proj=(attended.T @ at.out, attended.sum(0)),
            fc1=(before.T @ at.middle, before.sum(0)),
            fc2=(answered.T @ at.hidden, answered.sum(0)),
            ls1=ls1,
            ls2=ls2,
            last=last,
        )

    def _by_head(self, weight: Tensor, bias: Tensor) -> tuple[Tensor, ...]:
        """W_q, W_k, W_v as (H, s, d), and b_q, b_v."""
        wq, wk, wv = weight.view(3, self._heads, self._size, -1).unbind(0)
        bq, _, bv = bias.chunk(3)
        return wq, wk, wv, bq, bv


def _normalised(tokens: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """The last axis normalised, with its means and scales."""
    return torch.native_layer_norm(tokens, tokens.shape[-1:], None, None, eps)


def _each_head(rows: Tensor, matrices: Tensor) -> Tensor:
    """rows (B, H, i) by each head's matrix (H, i, j): (B, H, j)."""
    return torch.bmm(rows.transpose(0, 1), matrices).transpose(0, 1)


def _through(layer: str) -> Product:
    """Rows (B, i) through a linear layer of a direction."""
    return lambda d, rows: F.linear(rows, *getattr(d, layer))


def _softmax_along(moved: Tensor, scores: Tensor) -> Tensor:
    """J7's P⊙v - P⊙Σ(P⊙v), symmetric: its own transpose."""
    weighted = scores * moved
    return torch.addcmul(weighted, scores, weighted.sum(-1, keepdim=True), value=-1)


def _norm_along(moved: Tensor, normal: Tensor, scale: Tensor) -> Tensor:
    """J6's r·(v - mean(v) - x̂·mean(x̂⊙v)), symmetric."""
    centred = moved - moved.mean(-1, keepdim=True)
    return (centred - normal * (normal * moved).mean(-1, keepdim=True)) * scale


def _scaled(moved: Tensor, value: Tensor, scale: Tensor | None, own: Own, which: str) -> Tensor:
    """The tangents (B, K, d) of scale⊙value; without a scale, of the value itself."""
    if scale is None:
        return moved
    return moved * scale + own(lambda d, rows: rows * getattr(d, which), value)
