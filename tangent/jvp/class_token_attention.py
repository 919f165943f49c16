"""Class-token attention: the last block of a ViT, computed for its class token alone.

It is exact: with q the token's query, the scores are (W_kᵀq)·n over the normalised tokens n, and
Σ p·W_v n = W_v Σ p·n, so keys and values are never formed. b_k adds the same to every score.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tangent.backbones.loading import Attention, Block, LayerScale, Mlp, VisionTransformer
from tangent.backbones.suffix import running_instead


@contextmanager
def class_token_only(model: nn.Module) -> Iterator[None]:
    """Within the context, the last block computes only the class token if no other is read."""
    block = class_token_block(model)
    if block is None:
        yield
        return
    with running_instead(block, lambda tokens: class_token_output(block, tokens)):
        yield


def class_token_output(block: Any, tokens: Tensor) -> Tensor:
    """Return the block's class token (B, 1, d) for tokens (B, N, d)."""
    attention = block.attn
    heads, size = attention.num_heads, attention.head_dim
    batch, _, width = tokens.shape
    normal = block.norm1(tokens)
    first = normal[:, 0]
    weight, bias = attention.qkv.weight, attention.qkv.bias
    inner = heads * size
    query = F.linear(first, weight[:inner], None if bias is None else bias[:inner])
    keys = weight[inner : 2 * inner].reshape(heads, size, width)
    values = weight[2 * inner :].reshape(heads, size, width)
    by_head = (query * attention.scale).reshape(batch, heads, size).transpose(0, 1)
    weighted_keys = torch.bmm(by_head, keys).transpose(0, 1)  # W_kᵀq (B, H, d)
    scores = torch.softmax(torch.bmm(weighted_keys, normal.transpose(1, 2)), -1)
    mean_tokens = torch.bmm(scores, normal)
    out = torch.bmm(mean_tokens.transpose(0, 1), values.transpose(1, 2)).transpose(0, 1)
    out = out.reshape(batch, inner)
    if bias is not None:
        out = out + bias[2 * inner :]
    token = tokens[:, 0] + block.ls1(attention.proj(out))
    token = token + block.ls2(block.mlp(block.norm2(token)))
    answer: Tensor = token.unsqueeze(1)
    return answer


def class_token_block(model: nn.Module) -> Any:
    """The last block of a plain ViT that reads only its class token; None for other models."""
    if type(model) is not VisionTransformer or not model.blocks:
        return None
    block: Any = model.blocks[-1]
    attention = getattr(block, "attn", None)
    plain = (
        type(block) is Block
        and type(attention) is Attention
        and type(block.mlp) is Mlp
        and isinstance(model.norm, nn.LayerNorm)
        and all(isinstance(norm, nn.LayerNorm) for norm in (block.norm1, block.norm2))
        and all(isinstance(s, LayerScale | nn.Identity) for s in (block.ls1, block.ls2))
    )
    if not plain or model.global_pool != "token" or model.attn_pool is not None:
        return None
    untouched = (attention.q_norm, attention.k_norm, attention.norm)
    if attention.gate is not None or not all(isinstance(n, nn.Identity) for n in untouched):
        return None
    return block
