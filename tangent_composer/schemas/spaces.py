"""Spaces: the request for one, and the view of it."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal, Protocol, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from tangent_composer.schemas.names import Label
from tangent_composer.schemas.predictions import JOINT
from tangent_composer.schemas.texts import MAX_LISTED, Given
from tangent_composer.vocabulary import SCOPES, PrecisionName

SCOPE = f"^({'|'.join(SCOPES)})$".replace("N", "[1-9][0-9]?")  # as `is_scope` has it
NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"


def _distinct(labels: list[str]) -> list[str]:
    twice = sorted(label for label, count in Counter(labels).items() if count > 1)
    if twice:
        raise ValueError(f"named twice: {', '.join(twice[:5])}")
    return labels


SHARED = "whether keys other than the owner may see the space and do in it what their scopes allow"


class SpaceIn(Given):
    """A tangent space to open at a pre-trained backbone."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "name": "scans",
                "backbone": "vit_micro_32",
                "scope": "last-block",
                "labels": ["healthy", "ill"],
            }
        },
    )

    name: str = Field(max_length=64, pattern=NAME)
    backbone: str = Field(
        min_length=1,
        max_length=1024,
        description="a shipped name, a timm name, `hf-hub:<owner>/<name>`, or the path of a "
        "safetensors file or of a folder with one and timm's config.json, below the server's "
        "TANGENT_WEIGHTS_DIR; `<timm name>:<path>` where nothing beside the file names it",
    )
    scope: str = Field(
        max_length=64,
        description=f"which parameters move: {', '.join(SCOPES)}",
        json_schema_extra={"pattern": SCOPE},
    )
    labels: Annotated[list[Label], AfterValidator(_distinct)] = Field(
        [],
        max_length=MAX_LISTED,
        description="declared labels: every component learns to tell its own from these",
    )
    default_rule: Literal["joint", "average", "discriminant"] | None = Field(
        None,
        description="of predictions that name none, else joint where the scope makes it exact; "
        + JOINT,
    )
    shared: bool = Field(False, description=SHARED)


class SpaceChange(Given):
    """A change of a space; what it leaves out stays."""

    model_config = ConfigDict(json_schema_extra={"example": {"shared": True}})

    shared: bool | None = Field(None, description=SHARED)
    owner: str | None = Field(
        None, max_length=64, description="id of another key; null: everybody's; for scope admin"
    )


class Parameters(BaseModel):
    total: int
    tangent: int = Field(description="that a component has, with one label's head row")


class Engine(BaseModel):
    name: Literal["readout", "rules", "generic"] = Field(
        description="readout: one plain pass; rules: dual rules for each of the model's "
        "operations; generic: torch.func.jvp"
    )
    reason: str = Field(description="why this engine serves the space")


class Unavailable(BaseModel):
    code: str = Field(description="space_changed or space_unavailable")
    reason: str = Field(description="what is wrong, and what to do")


class Openings(Protocol):
    """The spaces that a process has opened, see app.inference.opened_spaces."""

    def status(self, row: Any) -> Literal["ready", "unavailable", "not_opened"]: ...
    def fault(self, row: Any) -> Any: ...
    def license(self, row: Any) -> str | None: ...
    def precision(self, row: Any) -> PrecisionName | None: ...


class SpaceOut(BaseModel):
    """A tangent space."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "name": "default",
                "backbone": "resnet_micro_32",
                "scope": "head2toe",
                "fingerprint": "5f0c…",
                "labels": ["eight", "nine"],
                "declared_labels": [],
                "default_rule": "joint",
                "image_size": 32,
                "parameters": {"total": 2400000, "tangent": 1921},
                "engine": {
                    "name": "readout",
                    "reason": "the output is linear in fixed features",
                },
                "license": "apache-2.0",
                "precision": "float32",
                "status": "ready",
                "unavailable": None,
                "owner": None,
                "shared": False,
                "created_at": "2025-01-31T09:30:00.123456Z",
            }
        }
    )

    name: str
    backbone: str
    scope: str
    fingerprint: str = Field(description="hash of all that a component's numbers depend on")
    labels: list[str] = Field(description="declared ones and those of ready components")
    declared_labels: list[str]
    default_rule: str
    image_size: int
    parameters: Parameters
    engine: Engine
    license: str | None = Field(
        None,
        description="of the backbone's weights, as their publisher says; null: not said, or the "
        "space is not opened yet",
    )
    precision: PrecisionName | None = Field(
        None,
        description="number format of answers here, see TANGENT_PRECISION; null: the space is not "
        "opened yet",
    )
    status: Literal["ready", "unavailable", "not_opened"] = Field(
        description="unavailable: its backbone does not open here as it did; predictions, "
        "evaluations and trainings are refused, reading and deleting go on. not_opened: this "
        "process has just started, and will try it"
    )
    unavailable: Unavailable | None
    owner: str | None = Field(description="id of the key that made it; null: everybody's")
    shared: bool = Field(description=SHARED)
    created_at: datetime

    @classmethod
    def of(cls, row: Any, labels: Sequence[str], opened: Openings) -> Self:
        """Return the view of a space's row with the labels known in the space."""
        fault = opened.fault(row)
        return cls(
            name=row.name,
            backbone=row.backbone,
            scope=row.scope,
            fingerprint=row.fingerprint,
            labels=list(labels),
            declared_labels=row.declared_labels,
            default_rule=row.default_rule,
            image_size=row.image_size,
            parameters=Parameters(total=row.parameters_total, tangent=row.parameters_tangent),
            engine=Engine(name=row.engine, reason=row.engine_reason),
            license=opened.license(row),
            precision=opened.precision(row),
            status=opened.status(row),
            unavailable=fault and Unavailable(code=fault.code, reason=fault.reason),
            owner=row.owner,
            shared=row.shared,
            created_at=row.created_at,
        )
