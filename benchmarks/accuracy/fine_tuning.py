"""Fine-tuning the network itself: the same parameters, the papers' recipe; soups and ensembles.

Stochastic gradient descent with momentum on cross-entropy, from the space's base point and its base
head, on cached activations of the frozen part. Plain autograd; none of the library's products.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.accuracy import names
from benchmarks.accuracy.answer import Answer, timed
from benchmarks.accuracy.case import Case, Pool
from tangent.backbones.suffix import Suffix

Weights = dict[str, Tensor]  # of the head and of every parameter in scope
LR, MOMENTUM, DECAY, BATCH = 1e-2, 0.9, 1e-4, 32
DROPS = (0.52, 0.82)  # of all epochs: from there on a tenth of the learning rate, and of that


def answers(case: Case) -> Iterator[Answer]:
    """Yield the answers of pooled fine-tuning, and of three averages of the parties' models."""
    yield pooled(case.pool)
    models, seconds = timed(lambda: [tuned(case.pool, part) for part in case.parts])
    outputs = [scores(case.pool, model, case.pool.gallery.test) for model in models]
    cost: dict[str, Any] = dict(train_seconds=seconds, passes=len(models))
    yield Answer(names.ENSEMBLES[0], mean([each.softmax(1) for each in outputs]), **cost)
    yield Answer(names.ENSEMBLES[1], mean(outputs), **cost)
    soup, mixing = timed(lambda: averaged(models))
    logits = scores(case.pool, soup, case.pool.gallery.test)
    yield Answer(names.SOUP, logits, train_seconds=seconds, compose_seconds=mixing)


def pooled(pool: Pool) -> Answer:
    """One model fine-tuned on all images, made once for all cases of the pool."""

    def fit() -> Answer:
        weights, seconds = timed(lambda: tuned(pool, pool.train))
        return Answer(names.POOLED, scores(pool, weights, pool.gallery.test), train_seconds=seconds)

    return pool.once(names.POOLED, fit)


def tuned(pool: Pool, numbers: Sequence[int] | np.ndarray) -> Weights:
    """The parameters in scope and the head after fine-tuning on these images."""
    suffix, activations = _suffix(pool)
    truth = torch.from_numpy(pool.gallery.truth)
    start = pool.gallery.space(pool.scope).base_rows(pool.gallery.labels).float()
    weights = {name: p.clone() for name, p in suffix.base.items()} | {"head": start}
    leaves = {name: p.requires_grad_() for name, p in weights.items()}
    optimizer = torch.optim.SGD(leaves.values(), lr=LR, momentum=MOMENTUM)
    generator = torch.Generator().manual_seed(pool.seed)
    order, epochs = torch.as_tensor(np.asarray(numbers)), pool.recipe.plain_epochs
    for epoch in range(epochs):
        drops = sum(epoch >= share * epochs for share in DROPS)
        optimizer.param_groups[0]["lr"] = LR * 0.1**drops
        for index in order[torch.randperm(len(order), generator=generator)].split(BATCH):
            loss = F.cross_entropy(outputs(suffix, leaves, activations[index]), truth[index])
            size = sum(((p**2).sum() for p in leaves.values()), start=torch.zeros(()))
            loss = loss + DECAY * (1e-6 + size).sqrt()  # not squared: eq. (5)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
    return {name: p.detach() for name, p in leaves.items()}


@torch.no_grad()
def scores(pool: Pool, weights: Weights, numbers: np.ndarray) -> Tensor:
    """Logits (n, K) of these images by the network with other weights."""
    suffix, activations = _suffix(pool)
    chunks = torch.from_numpy(numbers).split(256)
    return torch.cat([outputs(suffix, weights, activations[index]) for index in chunks]).double()


def averaged(models: Sequence[Weights]) -> Weights:
    """The mean of the models' weights, all of them the same number of times: a uniform soup."""
    return {name: mean([model[name] for model in models]) for name in models[0]}


def mean(values: Sequence[Tensor]) -> Tensor:
    """Return the mean, entry by entry."""
    return torch.stack(list(values)).mean(0)


def outputs(suffix: Suffix, weights: Weights, activation: Tensor) -> Tensor:
    """Logits of the network with these weights in place of the base's."""
    inside = {name: p for name, p in weights.items() if name != "head"}
    phi = class_token(suffix, inside, activation)
    if phi is None:
        phi = suffix.features(inside, activation)
    return phi @ weights["head"][:, :-1].T + weights["head"][:, -1]


def class_token(suffix: Suffix, weights: Weights, tokens: Tensor) -> Tensor | None:
    """The class token behind a ViT's last block, for which no other token needs an answer.

    None where the suffix is no such block: then the model's own code runs for all tokens.
    """
    block: Any = suffix.entry
    name = next((n for n, m in suffix.model.named_modules() if m is block), "")
    if f"{name}.attn.qkv.bias" not in weights or f"{name}.ls1.gamma" in weights:
        return None
    given = {key.removeprefix(f"{name}."): value for key, value in weights.items()}
    w, b = given["attn.qkv.weight"], given["attn.qkv.bias"]
    width, heads = tokens.shape[-1], block.attn.num_heads
    normal = _norm(tokens, given, "norm1", block.norm1.eps)
    query = F.linear(normal[:, :1], w[:width], b[:width])
    key, value = F.linear(normal, w[width:], b[width:]).split(width, -1)
    apart = [x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (query, key, value)]
    mixed = F.scaled_dot_product_attention(*apart).transpose(1, 2).flatten(2)
    x = tokens[:, :1] + F.linear(mixed, given["attn.proj.weight"], given["attn.proj.bias"])
    hidden = F.linear(
        _norm(x, given, "norm2", block.norm2.eps), given["mlp.fc1.weight"], given["mlp.fc1.bias"]
    )
    x = x + F.linear(F.gelu(hidden), given["mlp.fc2.weight"], given["mlp.fc2.bias"])
    last: Any = suffix.model.get_submodule("norm")
    return _norm(x, given, "norm", last.eps)[:, 0]


def _norm(x: Tensor, weights: Weights, name: str, eps: float) -> Tensor:
    weight, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
    return F.layer_norm(x, x.shape[-1:], weight, bias, eps)


def _suffix(pool: Pool) -> tuple[Suffix, Tensor]:
    """The part of the network that is tuned, and what enters it for every image."""
    suffix = pool.gallery.space(pool.scope).suffix
    assert suffix is not None, f"{pool.scope} has no parameter of the network to tune"
    return suffix, pool.gallery.rows(f"{pool.scope} activation", suffix.activation)
