"""Compositions: how one is put and shown."""

from datetime import datetime
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from app.schemas.predictions import JOINT, Member, Rule
from app.schemas.texts import Given


class CompositionIn(Given):
    """Which components answer under a name, and how they are summed."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "rule": "weighted",
                "components": [
                    {"id": "cmp_0190", "weight": 0.7},
                    {"id": "cmp_0191", "weight": 0.3},
                ],
            }
        },
    )

    space: str = Field("default", max_length=64)
    rule: Rule = Field(
        description="average; weighted; joint: as if trained on all their data together: " + JOINT
    )
    components: Literal["all"] | list[Member] = Field(
        description='components and their weights, or "all" that are ready when it is asked'
    )


class MemberOut(BaseModel):
    id: str
    weight: float | None = Field(description="null: as the rule counts it")


class CompositionOut(BaseModel):
    """A composition; `etag` names this version of it."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "name": "all-sites",
                "space": "default",
                "rule": "joint",
                "components": "all",
                "etag": "9b1d…",
                "created_at": "2025-01-31T09:30:00.123456Z",
                "updated_at": "2025-01-31T09:30:00.123456Z",
            }
        }
    )

    name: str
    space: str
    rule: Rule
    components: Literal["all"] | list[MemberOut]
    etag: str = Field(description="what If-Match takes, in quotes")
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, row: Any, etag: str) -> Self:
        """The composition's row and its version."""
        members = sorted(row.members, key=lambda member: member.component_id)
        return cls(
            name=row.name,
            space=row.space,
            rule=row.rule,
            components="all"
            if row.everything
            else [MemberOut(id=each.component_id, weight=each.weight) for each in members],
            etag=etag,
            created_at=row.created_at,
            updated_at=row.updated_at,
        )
