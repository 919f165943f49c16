"""The engines: what computes J·v and Jᵀ·u of a backbone's tangent parameters."""

from tangent.engines.choice import choose as choose
from tangent.engines.engine import Engine as Engine
from tangent.engines.engine import Prepared as Prepared
