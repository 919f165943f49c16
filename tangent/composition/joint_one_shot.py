"""The rule `joint` at block scopes, in one shot: the averaged block, the head solved behind it.

With d_t the component's direction of the backbone, w_t its weight and D = (sum of w d)/(sum of w)
their average, the head of label l is the optimum of the pooled square loss behind a block that adds
J D to the features:

    (sum of w G + c I) delta_l = sum of w (beta s_l - G a_l - r C w_l),    r_t = <D, d_t>/<d_t, d_t>

G, s and the ridge c are exact, as at scope `head`. The averaged block's effect on component t's
data is not known without the data. r_t C_t approximates it: the effect of the component's own
block, in the share that the average has of this block. The share is 1 where every component has the
same block, and 1/T where T blocks have nothing in common. `refine` gives the optimum from the data.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from tangent.components.component import Component

Weighted = Sequence[tuple[Component, float]]


def averaged(parts: Weighted) -> dict[str, Tensor]:
    """Return D by parameter, summed in the order of the parts."""
    weight = sum(each for _, each in parts)
    found: dict[str, Tensor] = {}
    for component, each in parts:
        for name, value in component.backbone.items():
            term = value.double() * (each / weight)
            found[name] = found[name] + term if name in found else term
    first = parts[0][0].backbone
    return {name: value.to(first[name].dtype) for name, value in found.items()}


def block_effects(parts: Weighted, block: dict[str, Tensor]) -> list[Tensor]:
    """Return r_t C_t (D, width) of every part: the averaged block's effect on the part's data."""
    owns = [_share(component, block) for component, _ in parts]
    return [own * cross for own, cross in zip(owns, crosses(parts), strict=True)]


def inner_products(parts: Weighted) -> Tensor:
    """Return <d_s, d_t> of all pairs, (T, T)."""
    found = torch.zeros(len(parts), len(parts), dtype=torch.float64)
    for name in parts[0][0].backbone:
        rows = torch.stack([component.backbone[name].flatten() for component, _ in parts]).double()
        found += rows @ rows.T
    return found


def shares(inner: Tensor, weights: Tensor) -> Tensor:
    """Return r_t of the average with these weights, from the inner products; 0 for a zero block."""
    norms = inner.diagonal()
    along = inner @ weights / weights.sum()
    return torch.where(norms > 0, along / norms.clamp(min=1e-300), 0.0)


def _share(component: Component, block: dict[str, Tensor]) -> float:
    along = norm = 0.0
    for name, value in component.backbone.items():
        own = value.double()
        along += float((own * block[name].double()).sum())
        norm += float(own.square().sum())
    return along / norm if norm else 0.0


def crosses(parts: Weighted) -> list[Tensor]:
    """Return C_t (D, width) of every part; all parts must have statistics."""
    found = []
    for component, _ in parts:
        assert component.statistics is not None and component.statistics.cross is not None
        found.append(component.statistics.cross)
    return found
