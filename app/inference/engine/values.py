"""Plain values of an engine's own: spaces, images and logits as others may know them."""

from collections.abc import Sequence

import numpy as np
import torch

import tangent
from app.errors import Invalid
from app.inference.models import Attributed, Effects, Logits, OpenedSpace, Pixels
from tangent.composition.attribution import Attribution
from tangent.composition.logit_effects import Answer


def check_finite(*logits: torch.Tensor) -> None:
    """Check that all logits are numbers.

    Raises:
        Invalid: `weights_too_large`.
    """
    if not all(torch.isfinite(each).all() for each in logits):
        raise Invalid(
            "weights_too_large",
            "the logits overflow with these weights: use weights of an ordinary size",
        )


def nothing(space: tangent.Space) -> tangent.Delta:
    """Return the zero delta with one label."""
    base = space.suffix.base if space.suffix else {}
    directions = {name: torch.zeros_like(tensor) for name, tensor in base.items()}
    head = torch.zeros(1, space.readout_width, dtype=torch.float64)
    return tangent.Delta(("canary",), head, directions)


def grey(space: tangent.Space) -> np.ndarray:
    """Return the pixels of a grey image."""
    return np.full((*space.preprocess.geometry.crop, 3), 128, np.uint8)


def described(space: tangent.Space) -> OpenedSpace:
    """Return the space's properties as plain values."""
    return OpenedSpace(
        backbone=space.backbone,
        scope=space.scope,
        declared=space.declared,
        fingerprint=space.fingerprint,
        image_size=space.image_size,
        parameters_total=space.parameters_total,
        parameters_tangent=space.parameters_tangent,
        engine_name=space.engine_name,
        engine_reason=space.engine_reason,
        default_rule=space.default_rule,
        license=space.license,
        precision=space.precision,
        geometry=space.preprocess.geometry,
    )


def inputs_of(space: tangent.Space, pixels: Pixels) -> torch.Tensor:
    """Return the network's inputs (B, 3, S, S) from pixels."""
    return space.preprocess.normalize(torch.from_numpy(np.stack(pixels)))


def _plain(answer: Answer) -> Logits:
    return Logits(answer.labels, answer.logits.numpy())


def attributed(found: Attribution) -> Attributed:
    """Return the attribution as plain values.

    Raises:
        Invalid: as `check_finite`.
    """
    rests = [rest.logits for rest in found.rests if rest is not None]
    check_finite(found.base.logits, *found.shares, *rests)
    return Attributed(
        _plain(found.base),
        [share.numpy() for share in found.shares],
        [None if rest is None else _plain(rest) for rest in found.rests],
    )


def effects_of(base: torch.Tensor, moved: Sequence[torch.Tensor]) -> Effects:
    """Return logits and their changes as plain values."""
    return Effects(base.numpy(), [each.numpy() for each in moved])
