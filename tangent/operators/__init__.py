"""Operators of the literature on merging networks, as makers of a component from others.

    fitted = derive(space, [Parent(a), Parent(b)], "ties", {"density": 0.2})

They are here to be compared with the rule `joint`. Each formula has a file; all work on the
parents' tangent vectors, and what one does about labels that only some parents have is said there.
"""

from tangent.operators.deriving import Parent as Parent
from tangent.operators.deriving import derive as derive
from tangent.operators.registry import OPERATORS as OPERATORS
from tangent.operators.registry import Operator as Operator
from tangent.operators.registry import needs_images as needs_images
from tangent.operators.registry import operator as operator
from tangent.operators.registry import resolve as resolve
from tangent.operators.registry import weigh as weigh
