"""Products of rows with their directions: every row by every direction, or each row by its own."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from tangent.jvp.layer_norm_folding import Folded

Product = Callable[[Folded, Tensor], Tensor]  # of a direction with rows (B, …)
Own = Callable[[Product, Tensor], Tensor]  # products (B, K, …) of rows with K directions each


def every_by(directions: Sequence[Folded]) -> Own:
    """Return the products of every row with all K directions."""

    def products(product: Product, rows: Tensor) -> Tensor:
        parts = [product(one, rows) for one in directions]
        return parts[0].unsqueeze(1) if len(parts) == 1 else torch.stack(parts, 1)

    return products


def each_by_its_own(directions: Sequence[Folded], sizes: Sequence[int]) -> Own:
    """Return the products of each row with one direction, K = 1.

    `sizes`: so many rows have the first direction, the next so many the second, and so on.
    """

    def products(product: Product, rows: Tensor) -> Tensor:
        groups = zip(directions, rows.split(list(sizes)), strict=True)
        return torch.cat([product(one, own) for one, own in groups]).unsqueeze(1)

    return products
