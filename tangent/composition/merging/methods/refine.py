"""The joint optimum of the parents' data, by conjugate gradients behind an exact head.

    delta = argmin of sum over t of w_t L_t(delta),      L_t: the loss of parent t's training

See `composition.refine`. At linear scopes rule `joint` gives this optimum from statistics alone,
and the method refuses. A label that a parent lacks is one that none of its images has.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

from tangent.composition.merging.merge_method import Merged, MergeInputs, MergeMethod, Number
from tangent.composition.merging.task_vectors import HEAD
from tangent.composition.refine import refine
from tangent.errors import BadDerivation
from tangent.vocabulary import REFINE, REFINE_PASSES


def _merge(inputs: MergeInputs, *, passes: int) -> Merged:
    space = inputs.space
    if space.joint_is_exact:
        raise BadDerivation(
            f"there is nothing to refine at scope {space.scope}: rule joint is exact there"
        )
    parts = [(parent.component, parent.weight, parent.source) for parent in inputs.parents]
    held = [(component, weight, source) for component, weight, source in parts if source]
    with TemporaryDirectory(dir=inputs.scratch) as folder:
        found = refine(space, held, passes=passes, scratch=Path(folder), progress=inputs.progress)
    return inputs.layout.flat(found.labels, {HEAD: found.head} | found.backbone), found.metrics


METHOD = MergeMethod(
    REFINE,
    _merge,
    "ours",
    {"passes": Number(REFINE_PASSES, 1, 1000)},
    weights="positive",
    images="always",
    reports_progress=True,
)
