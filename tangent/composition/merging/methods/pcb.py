"""PCB-Merging (Du, Lee, Li, Jiang, Guo, Yu et al., 2024): parameter competition balancing.

With N parents, ⊙ entry by entry, and norm(x) = (x - min x) / (max x - min x) over a vector,

    intra-balancing   a_t = softmax(N norm(delta_t ⊙ delta_t))
    inter-balancing   b_t = sum over s of softmax(norm(delta_t ⊙ delta_s))
    score             c_t = a_t ⊙ b_t, and 0 but for the share `keep` of it that is largest
    merge             delta = scale · sum of w_t c_t ⊙ delta_t / sum of w_t c_t

The papers' vectors have the same entries; here a parent's softmaxes run over the entries that it
has. A row that it lacks has no score and is not counted, and is a product of 0 for the others.
"""

import torch
from torch import Tensor

from tangent.composition.merging.merge_method import MEAN_SCALE, MergeMethod, Number, of_vectors
from tangent.composition.merging.task_vectors import TaskVectors, largest, ratio


def pcb(vectors: TaskVectors, *, keep: float, scale: float) -> Tensor:
    """The merged vector (P,)."""
    scores = torch.zeros_like(vectors.values)
    for row, value, held in zip(scores, vectors.values, vectors.held, strict=True):
        own = value[held]
        intra = torch.softmax(len(vectors.values) * _norm(own * own), 0)
        inter = sum(torch.softmax(_norm(own * other[held]), 0) for other in vectors.values)
        score = intra * inter
        kept = largest(score, round(keep * len(score)))
        row[held] = torch.where(kept, score, 0.0)
    return scale * ratio(vectors.weights @ (scores * vectors.values), vectors.weights @ scores)


def _norm(values: Tensor) -> Tensor:
    """Stretch the values to 0 … 1; all are 0 if they are equal."""
    low, high = torch.aminmax(values)
    return ratio(values - low, (high - low).expand_as(values))


METHOD = MergeMethod(
    "pcb",
    of_vectors(pcb),
    "Du et al. 2024",
    {"keep": Number(0.2, 0.0, 1.0), "scale": MEAN_SCALE},
    weights="positive",
)
