"""The dual rules: how each operation carries tangents along, one file a kind of operation.

ẏ stands for the tangent of y; J1 to J12 are the equations of docs/equations.md, all exact: those of
the layers in Liu & Soatto (ICCV 2023), Liu, Golatkar & Soatto (ICLR 2024), and some more.
"""

from tangent.jvp.rules import attention as attention
from tangent.jvp.rules import norms as norms
from tangent.jvp.rules import pointwise as pointwise
from tangent.jvp.rules import pools as pools
from tangent.jvp.rules import products as products
from tangent.jvp.rules import structure as structure
from tangent.jvp.rules import writes as writes
