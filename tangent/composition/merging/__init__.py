"""Merge methods of the literature: a component made from others.

    result = derive(space, [Parent(a), Parent(b)], "ties", {"density": 0.2})

They are here to be compared with the rule `joint`. Each method is one file in `methods`: its
formula, its paper, the labels that only some parents have, and `METHOD`, which declares its
parameters and needs. A new file there is a new method; nothing else names it.
"""

from tangent.composition.merging.merge import derive as derive
from tangent.composition.merging.merge_method import MergeMethod as MergeMethod
from tangent.composition.merging.merge_method import Parent as Parent
from tangent.composition.merging.methods import METHODS as METHODS
from tangent.composition.merging.methods import merge_method as merge_method
