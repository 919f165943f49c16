"""Operators of the literature on merging networks, as makers of a component from others.

    fitted = derive(space, [Parent(a), Parent(b)], "ties", {"density": 0.2})

They are here to be compared with the rule `joint`. Each formula has a file; all work on the
parents' tangent vectors, and what one does about labels that only some parents have is said there.
"""

from tangent.merging.merge import Parent as Parent
from tangent.merging.merge import derive as derive
from tangent.merging.operators import OPERATORS as OPERATORS
from tangent.merging.operators import Operator as Operator
from tangent.merging.operators import needs_images as needs_images
from tangent.merging.operators import operator as operator
from tangent.merging.operators import resolve as resolve
from tangent.merging.operators import weigh as weigh
