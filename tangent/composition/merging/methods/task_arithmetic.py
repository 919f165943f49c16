"""Task arithmetic (Ilharco, Ribeiro, Wortsman, Gururangan, Schmidt, Hajishirzi & Farhadi, 2023).

    delta = scale · sum of w_t delta_t

For fine-tuned networks the sum is a guess; for tangent vectors it is exact: the logits change by
the same sum of the parents' own changes. A negative weight takes a parent's change back. A row that
a parent lacks adds nothing.
"""

from torch import Tensor

from tangent.composition.merging.merge_method import SCALE, MergeMethod, of_vectors
from tangent.composition.merging.task_vectors import TaskVectors


def task_arithmetic(vectors: TaskVectors, *, scale: float) -> Tensor:
    """The scaled sum (P,)."""
    return scale * vectors.total()


METHOD = MergeMethod(
    "task_arithmetic",
    of_vectors(task_arithmetic),
    "Ilharco et al. 2023",
    {"scale": SCALE},
)
