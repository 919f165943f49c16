"""The jvp rules: the tangent of every operation's result, one file for each kind of operation.

ẏ is the tangent of y. J1 to J12 are the equations of docs/equations.md, all exact: the layers of
Liu & Soatto (ICCV 2023) and Liu, Golatkar & Soatto (ICLR 2024), and further operations.
"""

from tangent.jvp.rules import attention as attention
from tangent.jvp.rules import norms as norms
from tangent.jvp.rules import pointwise as pointwise
from tangent.jvp.rules import pools as pools
from tangent.jvp.rules import products as products
from tangent.jvp.rules import structure as structure
from tangent.jvp.rules import writes as writes
