"""What a solver returns: a value and how it was reached."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class Solution:
    """delta with final_loss, iterations, gradient_reduction and converged.

    gradient_reduction is |gradient at delta| / |gradient at zero|.
    """

    delta: dict[str, Tensor]
    stats: dict[str, Any]
