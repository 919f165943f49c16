"""The lineage of a merged component: merge method, parameters, and the parents' files."""

import re
import sys
from dataclasses import dataclass
from typing import Any, Self

from tangent.errors import BadComponent

MAX_ANCESTORS = 10_000


@dataclass(frozen=True)
class Derivation:
    """The merge that made a component; parents are named by the SHA-256 of their files."""

    operator: str
    parameters: dict[str, Any]  # as resolved
    parents: tuple[tuple[str, float | None], ...]  # with their weights, sorted
    ancestors: tuple[str, ...]  # the parents, their parents and so on; sorted and distinct

    def as_dict(self) -> dict[str, Any]:
        """The fields by name, as JSON values."""
        return {
            "operator": self.operator,
            "parameters": self.parameters,
            "parents": [{"sha256": sha256, "weight": weight} for sha256, weight in self.parents],
            "ancestors": list(self.ancestors),
        }

    @classmethod
    def read(cls, given: Any) -> Self:
        """Return the record in a component's metadata, checked.

        Raises:
            BadComponent: the record is not valid.
        """
        try:
            parents = tuple((parent["sha256"], parent["weight"]) for parent in given["parents"])
            record = cls(given["operator"], given["parameters"], parents, tuple(given["ancestors"]))
        except (KeyError, TypeError) as error:
            raise BadComponent("the record of the component's parents is not readable") from error
        if not isinstance(record.operator, str) or not isinstance(record.parameters, dict):
            raise BadComponent("the component's operator is no text, or its parameters no object")
        if not all(_is_hash(sha) for sha in record.ancestors + tuple(sha for sha, _ in parents)):
            raise BadComponent("the component's parents are not named by SHA-256")
        if not all(_is_weight(weight) for _, weight in parents):
            raise BadComponent("the weight of a parent is not a finite number")
        known = set(record.ancestors)
        if not parents or not known >= {sha for sha, _ in parents}:
            raise BadComponent("the component has no parents, or one that is no ancestor")
        if record.ancestors != tuple(sorted(known)) or len(known) > MAX_ANCESTORS:
            raise BadComponent("the component's ancestors are not sorted and distinct, or too many")
        return record


def _is_hash(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[0-9a-f]{64}", value) is not None


def _is_weight(value: Any) -> bool:
    if value is None:
        return True
    return type(value) in (int, float) and abs(value) <= sys.float_info.max  # false for NaN
