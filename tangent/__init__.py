"""The mathematics of tangent models: spaces, components, training and composition.

Runs alone on torch, timm and safetensors. Equation numbers are those of Liu & Soatto (ICCV 2023)
as the documentation quotes them.

Names are imported on first use (PEP 562): `tangent.vocabulary` and `tangent.errors` load no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tangent import errors as errors
    from tangent.backbones.loading import load_backbone as load_backbone
    from tangent.backbones.loading import shipped_backbones as shipped_backbones
    from tangent.components.component import Component as Component
    from tangent.components.delta import Delta as Delta
    from tangent.components.hyperparameters import Hyperparameters as Hyperparameters
    from tangent.components.privacy import Privacy as Privacy
    from tangent.composition.acceptance import accepted as accepted
    from tangent.composition.compose import compose as compose
    from tangent.spaces.opening import open_space as open_space
    from tangent.spaces.reproducibility import environment as environment
    from tangent.spaces.space import Space as Space
    from tangent.training.downdate import changed as changed
    from tangent.training.downdate import downdated as downdated
    from tangent.training.downdate import renamed as renamed
    from tangent.training.downdate import restated as restated
    from tangent.training.downdate import share as share
    from tangent.training.downdate import without as without
    from tangent.training.fit import Progress as Progress
    from tangent.training.fit import TrainingResult as TrainingResult
    from tangent.training.fit import fit as fit
    from tangent.vocabulary import LINEAR as LINEAR
    from tangent.vocabulary import RULES as RULES
    from tangent.vocabulary import SCOPES as SCOPES

_NAMES = {  # module -> the names that the package offers of it, as imported above for type checkers
    "backbones.loading": ("load_backbone", "shipped_backbones"),
    "components.component": ("Component",),
    "components.delta": ("Delta",),
    "components.hyperparameters": ("Hyperparameters",),
    "composition.acceptance": ("accepted",),
    "composition.compose": ("compose",),
    "components.privacy": ("Privacy",),
    "spaces.reproducibility": ("environment",),
    "spaces.space": ("Space",),
    "spaces.opening": ("open_space",),
    "training.downdate": ("changed", "downdated", "renamed", "restated", "share", "without"),
    "training.fit": ("Progress", "TrainingResult", "fit"),
    "vocabulary": ("LINEAR", "RULES", "SCOPES"),
}
_MODULES = {name: module for module, names in _NAMES.items() for name in names}
__all__ = ["errors", *_MODULES]


def __getattr__(name: str) -> Any:
    """Return a public name or a module of the package, imported now."""
    if name in _MODULES:
        value = getattr(import_module(f"tangent.{_MODULES[name]}"), name)
    elif name == "errors":
        value = import_module("tangent.errors")
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Return the public names beside what is loaded already."""
    return sorted({*globals(), *__all__})
