"""Components with random tensors in small spaces, and compositions of them."""

import dataclasses
import hashlib
from functools import cache

import torch

import tangent
from tangent.backbones.features import with_constant
from tangent.components.statistics import measure
from tests.support.models import direction, pushed, source, space

LABELS = ("cat", "dog", "eel")
SIZE = 16
OWN = (("cat", "dog"), ("dog", "eel"), ("ant",), ("cat", "dog", "eel"))


def sha(component: tangent.Component) -> str:
    return hashlib.sha256(component.to_bytes()).hexdigest()


@cache
def components(scope: str, dtype: torch.dtype = torch.float64) -> tuple[tangent.Component, ...]:
    """Components with random tensors: composing must not care where they come from."""
    where, made = space("mini", scope), []
    for seed, labels in enumerate(OWN):
        data = source(SIZE, [*labels, labels[0]], seed)
        generator = torch.Generator().manual_seed(seed)
        directions = direction(where.suffix.base, seed) if where.suffix else {}
        if where.engine is None:
            statistics = measure(where.readout(data.pixels), data.labels)
        else:
            phi, along = pushed(where.engine, data.pixels, directions)
            psi = with_constant(phi)
            statistics = dataclasses.replace(measure(psi, data.labels), cross=psi.T @ along)
        made.append(
            tangent.Component(
                fingerprint=where.fingerprint,
                scope=scope,
                labels={name: data.labels.count(name) for name in labels},
                head_labels=labels,
                head=torch.randn(len(labels), where.readout_width, generator=generator).double(),
                backbone={k: v.to(dtype) for k, v in directions.items()},
                statistics=statistics,
                hyperparameters={"beta": 15.0, "l2": 1e-3},
                seed=seed,
            )
        )
    return tuple(made)


def compose(scope, chosen, rule, weights=None, dtype=torch.float64):
    """The composition of the components with these indices."""
    parts = [components(scope, dtype)[i] for i in chosen]
    weights = weights or [None] * len(parts)
    shas = [sha(part) for part in parts]
    pairs = list(zip(parts, weights, strict=True))
    return tangent.compose(space("mini", scope), pairs, rule, shas=shas)


def delta(where: tangent.Space, seed: int, labels: tuple[str, ...] = LABELS) -> tangent.Delta:
    """A random delta on the head and, at block scopes, on the backbone."""
    generator = torch.Generator().manual_seed(seed)
    head = torch.randn(len(labels), where.readout_width, generator=generator, dtype=torch.float64)
    directions = direction(where.suffix.base, seed) if where.suffix else {}
    return tangent.Delta(labels, head, directions)
