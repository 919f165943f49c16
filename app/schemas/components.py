"""Components: the request for one, and the view of it and its events."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from app.schemas.derivations import DerivedOut
from app.schemas.names import Metadata, Name, Seed
from app.schemas.texts import MAX_NAMES, Given, at_most

Status = Literal["queued", "training", "ready", "failed", "cancelled"]


class ComponentIn(Given):
    """A component to be trained from a dataset."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "dataset_id": "ds_0190",
                "name": "clinic north",
                "hyperparameters": {"l2": 0.0001},
                "seed": 0,
                "metadata": {"contract": "17"},
            }
        },
    )

    dataset_id: str = Field(max_length=64)
    name: Name | None = Field(None, description="the dataset's name if none is given")
    space: str = Field("default", max_length=64)
    hyperparameters: Annotated[dict[str, Any], at_most(MAX_NAMES)] = Field(
        default_factory=dict,
        max_length=MAX_NAMES,
        description="loss, alpha, beta, l2, penalty, solver, tolerance, max_iterations, epochs, "
        "lr, batch_size, views; the scope's defaults for those left out. At scopes head and "
        'head2toe l2 may be "auto": the penalty that the data speak for, see metrics.l2; rule '
        'joint chooses it again if all its components have "auto"',
    )
    seed: Seed = Field(0, description="same dataset, settings and seed: the same component")
    metadata: Metadata = Field(default_factory=dict)


class Progress(BaseModel):
    """Progress of the training's present phase."""

    phase: str | None = None
    step: int = 0
    total: int = 0
    loss: float | None = None
    eta_seconds: float | None = None


class Failure(BaseModel):
    code: str
    detail: str


class ComponentOut(BaseModel):
    """A component, whatever its status."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "id": "cmp_0190",
                "name": "clinic north",
                "space": "default",
                "status": "ready",
                "retraining": False,
                "progress": {
                    "phase": "reading",
                    "step": 12,
                    "total": 12,
                    "loss": 0.03,
                    "eta_seconds": 0,
                },
                "metrics": {"train_accuracy": 0.99, "holdout_accuracy": 0.97},
                "labels": ["healthy", "ill"],
                "images": {"healthy": 120, "ill": 80},
                "dataset_id": "ds_0190",
                "fingerprint": "5f0c…",
                "sha256": "77aa…",
                "bytes": 1048576,
                "seed": 0,
                "hyperparameters": {"loss": "rsl", "l2": 0.0001},
                "metadata": {"contract": "17"},
                "derived": None,
                "attempts": 1,
                "error": None,
                "created_at": "2025-01-31T09:30:00.123456Z",
                "started_at": "2025-01-31T09:30:01.123456Z",
                "finished_at": "2025-01-31T09:30:04.123456Z",
            }
        }
    )

    id: str
    name: str
    space: str
    status: Status
    retraining: bool = Field(
        description="was ready, and is trained again as its dataset lost an image or has other "
        "labels; answers leave it out until it is ready again"
    )
    progress: Progress
    metrics: dict[str, Any] = Field(
        description="train_accuracy, holdout_accuracy, final_loss, converged and others; "
        "departure_at_t: how far the network moved by t times the component departs from its "
        "tangent, relative to the tangent's own change"
    )
    labels: list[str]
    images: dict[str, int] = Field(description="how many images of each label it was trained from")
    dataset_id: str | None = Field(
        description="trained from, or fitted to; null for an imported component, and for one that "
        "was derived without images"
    )
    fingerprint: str = Field(description="of its space")
    sha256: str | None = Field(description="of its file")
    bytes: int | None = Field(description="of its file")
    seed: int
    hyperparameters: dict[str, Any]
    metadata: dict[str, str]
    derived: DerivedOut | None = Field(description="null if it was trained from images")
    attempts: int = Field(description="times its training, or the present one, was started")
    error: Failure | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None

    @classmethod
    def of(cls, row: Any) -> Self:
        """Return the view of a component's row."""
        same = set(cls.model_fields) - {"labels", "images", "metadata", "progress", "derived"}
        return cls(
            labels=sorted(row.labels),
            images=row.labels,
            metadata=row.tags,
            progress=Progress(**row.progress),
            derived=DerivedOut.of(row),
            **{name: getattr(row, name) for name in same},
        )


class ImportedComponent(ComponentOut):
    """A component from another service's file."""

    warnings: list[str] = Field([], description="on what may not be as meant")
    duplicate_of: list[str] = Field(
        [], description="ready components of the space with the same file; the first ten"
    )

    @classmethod
    def of(cls, row: Any, warnings: Sequence[str] = (), duplicate_of: Sequence[str] = ()) -> Self:
        shown = ComponentOut.of(row).model_dump()
        return cls(**shown, warnings=list(warnings), duplicate_of=list(duplicate_of))


class EventOut(BaseModel):
    """An event in the life of a component."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "id": 41,
                "type": "progress",
                "data": {"step": 3, "total": 12, "loss": 0.4, "eta_seconds": 2.5},
                "created_at": "2025-01-31T09:30:02.123456Z",
            }
        }
    )

    id: int
    type: str = Field(description="status or progress")
    data: dict[str, Any]
    created_at: datetime

    @classmethod
    def of(cls, row: Any) -> Self:
        """Return the view of an event's row."""
        return cls(id=row.id, type=row.type, data=row.data, created_at=row.created_at)


class EnvelopeSignature(BaseModel):
    keyid: str = Field(description="SHA-256 of the public key in DER: GET /v1/receipts/key")
    sig: str = Field(description="Ed25519, in base64")


class SignatureOut(BaseModel):
    """The signature of a component's file: a DSSE envelope around an in-toto statement."""

    payloadType: str
    payload: str = Field(description="in base64: the statement of OpenSSF Model Signing 1.0")
    signatures: list[EnvelopeSignature]
