"""Spaces opened: by the name of their backbone, on the grid that they were made with."""

from collections.abc import Sequence
from typing import Any

from tangent.backbones.features import GRIDS
from tangent.backbones.loading import Backbone, load_backbone
from tangent.backbones.scope import check_scope
from tangent.spaces.space import Space


def open_space(
    backbone: str,
    scope: str,
    declared: Sequence[str] = (),
    *,
    device: str = "cpu",
    precision: str = "float32",
    tf32: bool = False,
    compile: str = "off",
    fingerprint: str | None = None,
) -> Space:
    """Open the space of a backbone by name; see `space_of`, and `load_backbone` for its errors."""
    check_scope(scope)
    how: dict[str, Any] = {"device": device, "precision": precision, "tf32": tf32}
    how |= {"compile": compile}
    return space_of(load_backbone(backbone), scope, declared, **how, fingerprint=fingerprint)


def space_of(
    backbone: Backbone,
    scope: str,
    declared: Sequence[str] = (),
    *,
    fingerprint: str | None = None,
    **how: Any,
) -> Space:
    """Open the space of a backbone; raises the errors of `Space`.

    `fingerprint`: of a space that an earlier version may have made, with another grid; without a
    grid that leads to it, the space has the newest.
    """
    newest = Space(backbone, scope, declared, **how)
    if fingerprint in (None, newest.fingerprint) or newest.grid is None:
        return newest
    others = (Space(backbone, scope, declared, **how, grid=each) for each in GRIDS[1:])
    return next((each for each in others if each.fingerprint == fingerprint), newest)
