"""The jvp engines, which compute J·v and Jᵀ·u of a backbone's tangent parameters."""

from tangent.jvp.choice import choose as choose
from tangent.jvp.choice import choose_rounded as choose_rounded
from tangent.jvp.engine import Answerer as Answerer
from tangent.jvp.engine import Engine as Engine
from tangent.jvp.engine import Prepared as Prepared
