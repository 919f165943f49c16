"""Derived components: the request for one, and the view of its origin."""

from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, Strict

from tangent_composer.schemas.names import JsonSeed, Metadata, Name
from tangent_composer.schemas.texts import MAX_NAMES, Given, Text, at_most
from tangent_composer.vocabulary import MERGE_METHODS

MAX_PARENTS = 100
Weight = Annotated[float, Strict(), Field(allow_inf_nan=False)]


class ParentIn(Given):
    """A component to derive from."""

    id: str = Field(max_length=64)
    weight: Weight | None = Field(None, description="1 if left out; none for operator atlas")


class DeriveIn(Given):
    """A component to make from others by a published method."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "operator": "ties",
                "parents": [{"id": "cmp_0190"}, {"id": "cmp_0191", "weight": 0.5}],
                "parameters": {"density": 0.2},
                "name": "north and south",
            }
        },
    )

    operator: Annotated[Text, Field(max_length=64)] = Field(
        description=f"{', '.join(MERGE_METHODS[:-1])} or {MERGE_METHODS[-1]}",
        json_schema_extra={"enum": list(MERGE_METHODS)},
    )
    parents: list[ParentIn] = Field(
        min_length=1, max_length=MAX_PARENTS, description="ready components of one space"
    )
    parameters: Annotated[dict[str, Any], at_most(MAX_NAMES)] = Field(
        default_factory=dict,
        max_length=MAX_NAMES,
        description="the operator's own; its defaults for those left out",
    )
    dataset_id: str | None = Field(
        None, max_length=64, description="labelled images to fit to, for operator atlas"
    )
    name: Name | None = Field(None, description="the operator's and its parents' number if none")
    seed: JsonSeed = Field(0, description="same parents, parameters and seed: the same component")
    metadata: Metadata = Field(default_factory=dict)


class ParentOut(BaseModel):
    id: str | None = Field(description="null if it was derived elsewhere, and imported")
    sha256: str = Field(description="of the parent's file")
    weight: float | None


class DerivedOut(BaseModel):
    """The parents of a component and the method that made it from them."""

    operator: str
    parameters: dict[str, Any] = Field(description="as resolved, defaults filled in")
    parents: list[ParentOut]
    automatic: bool = Field(
        False,
        description="made by the service, to refine a joint composition; goes when it changes",
    )

    @classmethod
    def of(cls, row: Any) -> Self | None:
        """Return the origin of a component's row; None if it was trained from images."""
        if row.derived is None:
            return None
        parents = [
            ParentOut(id=each.parent_id, sha256=each.sha256, weight=each.weight)
            for each in row.parents
            if each.direct
        ]
        return cls(**row.derived, parents=parents, automatic=row.automatic)
