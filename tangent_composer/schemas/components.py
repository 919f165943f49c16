"""Components: the request for one, and the view of it and its events."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from tangent_composer.schemas.derivations import DerivedOut
from tangent_composer.schemas.names import Change, JsonSeed, Metadata, Name
from tangent_composer.schemas.privacy import PrivacyIn, PrivacyOut
from tangent_composer.schemas.texts import MAX_NAMES, Given, Text, at_most

Status = Literal["queued", "training", "ready", "failed", "cancelled"]
FEW_IMAGES = 10  # of a label; a sum of fewer hides little of each, see docs/what-a-file-reveals.md
HYPERPARAMETERS = (
    "loss, alpha, beta, l2, penalty, solver, tolerance, tolerance_of, max_iterations, epochs, lr, "
    "batch_size, views; the scope's defaults for those left out. At scopes head and head2toe l2 is "
    '"auto" by default: the penalty that predicts left-out images best by generalised '
    "cross-validation, see metrics.l2; rule joint chooses it again for all the data together if "
    'all its components have "auto"'
)
Hyperparameters = Annotated[dict[str, Any], Field(max_length=MAX_NAMES), at_most(MAX_NAMES)]


MetricName = Annotated[str, Field(max_length=64, pattern=r"^[a-z][a-z0-9_.]*$")]
Measured = Annotated[float, Field(allow_inf_nan=False)]
Tried = Annotated[dict[MetricName, Measured], Field(max_length=4), at_most(4)]  # an l2 and more
Metric = bool | Measured | Annotated[Text | list[Tried], Field(max_length=300)] | None
GivenMetrics = Annotated[dict[MetricName, Metric], Field(max_length=MAX_NAMES), at_most(MAX_NAMES)]


class TrainingIn(Given):
    """The settings of a training, and what its component is called."""

    name: Name | None = Field(None, description="the dataset's name if none is given")
    hyperparameters: Hyperparameters = Field(default_factory=dict, description=HYPERPARAMETERS)
    seed: JsonSeed = Field(0, description="same dataset, settings and seed: the same component")
    metadata: Metadata = Field(default_factory=dict)


class ComponentIn(TrainingIn):
    """A component to be trained from a dataset."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "dataset_id": "ds_0190",
                "name": "clinic north",
                "hyperparameters": {"l2": 0.0001},
                "seed": 0,
                "metadata": {"contract": "17"},
                "privacy": {"epsilon": 3.0, "delta": 1e-5},
            }
        },
    )

    dataset_id: str = Field(max_length=64)
    space: str = Field("default", max_length=64)
    privacy: PrivacyIn | None = Field(
        None,
        description="differential privacy, at scopes head and head2toe; the noise is new each "
        "time and its seed kept nowhere, so such a component cannot be made again",
    )


class ComponentChange(Change):
    """A component's new name, and changes of its metadata; what it leaves out stays."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"name": "clinic north", "metadata": {"contract": None}}}
    )

    name: Name = ""


class SmallestLabel(BaseModel):
    """The label with the fewest images: of one image, a file with statistics tells the features."""

    label: str
    images: int

    @classmethod
    def of(cls, row: Any) -> "SmallestLabel | None":
        """Return the smallest label of a component's row; None if it was derived from others."""
        if row.derived is not None or not row.labels:
            return None
        images, label = min((images, label) for label, images in row.labels.items())
        return cls(label=label, images=images)

    @property
    def warning(self) -> str:
        """Return what whoever has the file can learn."""
        if self.images == 1:
            return (
                f"label {self.label!r} has a single image: whoever has the file has the features "
                "of this image"
            )
        return (
            f"label {self.label!r} has {self.images} images, fewer than {FEW_IMAGES}: whoever has "
            "the file has the sum of their features"
        )


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
                "metrics_by": "service",
                "labels": ["healthy", "ill"],
                "images": {"healthy": 120, "ill": 80},
                "smallest_label": {"label": "ill", "images": 80},
                "statistics": True,
                "dataset_id": "ds_0190",
                "fingerprint": "5f0c…",
                "sha256": "77aa…",
                "bytes": 1048576,
                "seed": 0,
                "hyperparameters": {"loss": "rsl", "l2": 0.0001},
                "metadata": {"contract": "17"},
                "derived": None,
                "privacy": None,
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
    metrics_by: Literal["service", "party"] | None = Field(
        None,
        description="who measured the metrics: this service, or the party that trained the "
        "component elsewhere and sent them with its file; null: there are none",
    )
    labels: list[str]
    images: dict[str, int] = Field(
        description="how many images of each label it was trained from, or groups by its privacy"
    )
    dataset_id: str | None = Field(
        description="trained from, or fitted to; null for an imported component, and for one that "
        "was derived without images"
    )
    smallest_label: SmallestLabel | None = Field(
        description="the one with the fewest in images; null if it was derived from others"
    )
    statistics: bool = Field(
        description="whether its file has the sums that rule joint needs: false if it was derived "
        "from others, or imported from a file without them"
    )
    fingerprint: str = Field(description="of its space")
    sha256: str | None = Field(description="of its file")
    bytes: int | None = Field(description="size of its file in bytes")
    seed: int
    hyperparameters: dict[str, Any]
    metadata: dict[str, str]
    derived: DerivedOut | None = Field(description="null if it was trained from images")
    privacy: PrivacyOut | None = Field(
        None,
        description="null: none is promised. Numbers of images, or groups, are told with noise, 0 "
        "until it is ready; of an imported component, its file claims this",
    )
    attempts: int = Field(description="times its training, or the present one, was started")
    error: Failure | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None

    @classmethod
    def of(cls, row: Any) -> Self:
        """Return the view of a component's row."""
        made = {"labels", "images", "metadata", "progress", "derived", "hyperparameters"}
        same = set(cls.model_fields) - made - {"smallest_label", "statistics", "metrics_by"}
        return cls(
            labels=sorted(row.labels),
            images=row.labels,
            metadata=row.tags,
            progress=Progress(**row.progress),
            derived=DerivedOut.of(row),
            hyperparameters=_settled(row),
            metrics_by=_measurer(row),
            smallest_label=SmallestLabel.of(row),
            statistics=row.statistics and row.derived is None,
            **{name: getattr(row, name) for name in same},
        )


def _measurer(row: Any) -> Literal["service", "party"] | None:
    """Return who measured a component's metrics; nothing of an import is measured here."""
    if not row.metrics:
        return None
    return "party" if row.dataset_id is None and row.derived is None else "service"


def _settled(row: Any) -> dict[str, Any]:
    """Return a component's settings; an l2 that the data chose, as it was chosen."""
    is_ours = row.hyperparameters.get("choose_l2") and _measurer(row) == "service"
    chosen = row.metrics.get("l2") if is_ours else None
    return dict(row.hyperparameters) if chosen is None else row.hyperparameters | {"l2": chosen}


class ImportedComponent(ComponentOut):
    """A component from another service's file."""

    warnings: list[str] = Field([], description="on what may not be as meant")
    duplicate_of: list[str] = Field(
        [],
        description="ready components of the space with the same file, statistics aside; the first "
        "ten",
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
