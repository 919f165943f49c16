"""Calculations that need torch and none of an engine's memory."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tangent
from app.inference.engine import fits, merges
from app.inference.models import Examined, MergePlan, WeightProblem, Weights


class Calculations:
    """The part of an engine that opens no space and keeps nothing."""

    def fit_weights(self, problem: WeightProblem) -> Weights:
        """Return the weights that fit the examples best.

        Raises:
            IndefiniteProblem: no weights are the best, or more than one choice is.
        """
        return fits.fit(problem)

    def plan_merge(
        self, operator: str, parameters: dict[str, Any], weights: Sequence[float | None]
    ) -> MergePlan:
        """Return a merge method's needs, see app.inference.engine.merges."""
        return merges.planned(operator, parameters, weights)

    def merges_needing_images(self, operator: str, scope: str, losses: Sequence[str]) -> list[bool]:
        """Return for each parent's loss whether the method needs the parent's images."""
        return merges.needing_images(operator, scope, losses)

    def examine(self, received: Path) -> Examined:
        """Return what a component file of elsewhere says of itself.

        Raises:
            TangentError: it is none.
        """
        component = tangent.Component.load(received)
        return Examined(component.fingerprint, component.scope, len(component.labels))
