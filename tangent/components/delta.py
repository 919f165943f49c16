"""A composed tangent vector, by which predictions are answered."""

from dataclasses import dataclass

from torch import Tensor

TangentDict = dict[str, Tensor]  # parameter, or "head" -> its direction


@dataclass(frozen=True, eq=False)
class Delta:
    """One head row for each label that it ranks, and directions of the backbone."""

    labels: tuple[str, ...]  # sorted
    head: Tensor  # (K, D) float64
    backbone: dict[str, Tensor]  # parameter -> direction, in the backbone's dtype

    def tensors(self) -> dict[str, Tensor]:
        """All tensors by name."""
        return {"head": self.head} | {f"backbone.{k}": v for k, v in self.backbone.items()}
