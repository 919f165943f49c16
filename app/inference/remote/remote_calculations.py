"""Calculations of an engine in another process, with the methods of `Calculations`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from app.inference.models import Examined, MergePlan, WeightProblem, Weights


class RemoteCalculations:
    """The part of a remote engine that asks for calculations."""

    def _ask(self, name: str, *given: Any) -> Any:
        raise NotImplementedError

    def fit_weights(self, problem: WeightProblem) -> Weights:
        """As `Engine.fit_weights`."""
        return self._ask("fit_weights", problem)

    def plan_merge(
        self, operator: str, parameters: dict[str, Any], weights: Sequence[float | None]
    ) -> MergePlan:
        """As `Engine.plan_merge`."""
        return self._ask("plan_merge", operator, parameters, list(weights))

    def merges_needing_images(self, operator: str, scope: str, losses: Sequence[str]) -> list[bool]:
        """As `Engine.merges_needing_images`."""
        return self._ask("merges_needing_images", operator, scope, list(losses))

    def examine(self, received: Path) -> Examined:
        """As `Engine.examine`."""
        return self._ask("examine", received)
