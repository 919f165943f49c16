"""Compositions: the requests to put and to solve one, and the view of it."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, Strict

from tangent_composer.schemas.names import Change, Metadata, SplitQuery
from tangent_composer.schemas.predictions import JOINT, Member
from tangent_composer.schemas.texts import MAX_LISTED, Given
from tangent_composer.schemas.training_overlap import TrainedOn, overlap_fields
from tangent_composer.vocabulary import Constraint, Objective, Rule


class CompositionIn(Given):
    """The components that answer under a name, and the rule that sums them."""

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
        description="average; weighted; joint: trained on all their data together; discriminant: "
        "the same with every label equally likely: " + JOINT
    )
    components: Literal["all"] | Annotated[list[Member], Field(max_length=MAX_LISTED)] = Field(
        description='components and their weights, or "all" that are ready when a request comes'
    )
    metadata: Metadata = Field(default_factory=dict)


class CompositionChange(Change):
    """Changes of a composition's metadata."""

    model_config = ConfigDict(json_schema_extra={"example": {"metadata": {"owner": "ward 3"}}})


class SolveIn(Given):
    """The dataset to fit the weights to, the objective and its constraint.

    squared: half the mean square distance from the components' targets; cross_entropy: the mean
    negative log probability of an image's own label. Both plus l2 / 2 times the squared distance of
    the weights from the uniform ones.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "dataset_id": "ds_0190",
                "objective": "cross_entropy",
                "l2": 0.01,
                "constraint": "simplex",
            }
        },
    )

    dataset_id: str = Field(max_length=64, description="best one that no component is trained on")
    split: SplitQuery | None = Field(
        None,
        description="of the dataset, best val; else train and images without a split, as "
        "in a training",
    )
    objective: Objective = "cross_entropy"
    l2: Annotated[float, Strict(), Field(ge=0, le=1e6, allow_inf_nan=False)] = 0.01
    constraint: Constraint = Field("none", description="simplex: at least 0 each, and 1 together")


class SolvedOut(TrainedOn):
    """The fit of the weights; without numbers once one of its components was deleted.

    Images whose SHA-256, as a number, is a multiple of five are held out: the weights do not see
    them. Images of a group, and near duplicates, go by the smallest of their hashes. Images of
    labels that no component knows are left out.
    """

    status: Literal["ready", "invalidated"]
    objective: str
    l2: float
    constraint: str
    dataset_id: str | None = None
    split: str | None = Field(None, description="null: train and images without a split")
    num_images: int | None = Field(None, description="that the weights were fitted to")
    num_left_out: int | None = Field(None, description="images of labels no component knows")
    training_objective: float | None = None
    uniform_training_objective: float | None = None
    num_holdout: int | None = None
    holdout_accuracy: float | None = None
    uniform_holdout_accuracy: float | None = Field(None, description="of the plain average")
    members_trained_on_dataset: list[str] | None = Field(
        None, description="if any: these know the images, so weights and accuracies favour them"
    )
    invalidated_by: str | None = Field(None, description="the receipt of the deletion")

    @classmethod
    def of(cls, solved: dict[str, Any]) -> Self:
        """Return the view of what is stored of a fit."""
        measured = (solved.get("num_images") or 0) + (solved.get("num_holdout") or 0)
        return cls(**(solved | overlap_fields(solved, measured)))


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
                "solved": None,
                "metadata": {"owner": "ward 3"},
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
    solved: SolvedOut | None = Field(description="null: its weights were given, not solved for")
    metadata: dict[str, str]
    etag: str = Field(description="what If-Match takes, in quotes")
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, row: Any, etag: str) -> Self:
        """Return the view of a composition's row with this version."""
        members = sorted(row.members, key=lambda member: member.component_id)
        return cls(
            name=row.name,
            space=row.space,
            rule=row.rule,
            components="all"
            if row.everything
            else [MemberOut(id=each.component_id, weight=each.weight) for each in members],
            solved=None if row.solved is None else SolvedOut.of(row.solved),
            metadata=row.tags,
            etag=etag,
            created_at=row.created_at,
            updated_at=row.updated_at,
        )
