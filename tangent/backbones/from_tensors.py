"""A backbone built from tensors in memory, as a space's card carries them."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from tangent.backbones.loading import TIMM_ERRORS, Backbone, create_untrained, is_architecture, wrap
from tangent.errors import BackboneUnavailable, TangentError, UnsupportedModel, WrongWeights


def backbone_of(
    name: str,
    architecture: str,
    tensors: Mapping[str, Tensor],
    settings: dict[str, Any],
    license_: str | None = None,
) -> Backbone:
    """Build the architecture with exactly these tensors and settings of the preprocessing.

    Raises:
        WrongWeights: the architecture has other tensors in this version of timm.
        BackboneUnavailable: this version of timm does not know the architecture.
        UnsupportedModel: timm cannot build it.
    """
    check_architecture(architecture)
    try:
        with torch.device("meta"):
            wanted = create_untrained(architecture, 0).state_dict()
        _check_fit(architecture, wanted, tensors)
        model = create_untrained(architecture, 0)
        model.load_state_dict(dict(tensors))
        return wrap(name, model, settings, license_=license_, architecture=architecture)
    except TangentError:
        raise
    except TIMM_ERRORS as error:
        raise UnsupportedModel(
            f"timm cannot build {architecture} ({type(error).__name__}: {error}): install the "
            "version that the service has"
        ) from error


def check_architecture(name: str) -> None:
    """Refuse what timm does not define itself: its builder would ask the network for some names.

    Raises:
        BackboneUnavailable: this version of timm does not know the architecture.
    """
    if not is_architecture(name):
        raise BackboneUnavailable(
            f"this version of timm has no architecture {name[:80]!r}: install the version that the "
            "service has"
        )


def _check_fit(
    architecture: str, wanted: Mapping[str, Tensor], found: Mapping[str, Tensor]
) -> None:
    shapes = {name: tuple(each.shape) for name, each in found.items()}
    expected = {name: tuple(each.shape) for name, each in wanted.items()}
    different = sorted({*shapes.items()} ^ {*expected.items()})
    if different:
        raise WrongWeights(
            f"the tensors are not those of {architecture} in this version of timm: "
            f"{different[0][0]} differs, of {len({name for name, _ in different})}"
        )
