"""Task vectors for tests of merge methods: random ones, and ones written by hand."""

import torch

from tangent.composition.merging.task_vectors import HEAD, Layout, TaskVectors

LABELS = ("ant", "bee", "cat")
SHAPES = {HEAD: torch.Size([3, 3]), "a.bias": torch.Size([4]), "a.weight": torch.Size([4, 2])}
OWN = (("ant", "bee"), ("bee", "cat"), ("ant", "bee", "cat"))


def vectors(seed: int = 0, own=OWN, weights=(1.0, 0.5, 2.0)) -> TaskVectors:
    """Random parents with the head rows of these labels."""
    layout, generator = Layout(LABELS, SHAPES), torch.Generator().manual_seed(seed)
    held = torch.stack([layout.held(labels) for labels in own])
    values = torch.randn(held.shape, generator=generator, dtype=torch.float64) * held
    return TaskVectors(layout, values, held, torch.tensor(weights[: len(own)], dtype=torch.float64))


def by_hand(*rows: list[float], weights: list[float] | None = None) -> TaskVectors:
    """Parents with one block of a few entries beside an empty head."""
    shapes = {HEAD: torch.Size([0, 1]), "w": torch.Size([len(rows[0])])}
    values = torch.tensor(rows, dtype=torch.float64)
    given = torch.tensor(weights or [1.0] * len(rows), dtype=torch.float64)
    return TaskVectors(Layout((), shapes), values, torch.ones_like(values).bool(), given)
