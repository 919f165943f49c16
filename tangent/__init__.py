"""The mathematics of tangent models: spaces, components, training and composition.

Runs alone on torch, timm and safetensors. Equation numbers are those of Liu & Soatto (ICCV 2023)
as the documentation quotes them.
"""

from tangent import errors as errors
from tangent.backbones.loading import load_backbone as load_backbone
from tangent.backbones.loading import shipped_backbones as shipped_backbones
from tangent.backbones.scope import LINEAR as LINEAR
from tangent.backbones.scope import SCOPES as SCOPES
from tangent.components.component import Component as Component
from tangent.components.delta import Delta as Delta
from tangent.components.hyperparameters import Hyperparameters as Hyperparameters
from tangent.composition.compose import RULES as RULES
from tangent.composition.compose import compose as compose
from tangent.reproducibility import environment as environment
from tangent.space import Space as Space
from tangent.space import open_space as open_space
from tangent.training.downdate import renamed as renamed
from tangent.training.downdate import restated as restated
from tangent.training.downdate import without as without
from tangent.training.fit import Fitted as Fitted
from tangent.training.fit import Progress as Progress
from tangent.training.fit import fit as fit
