"""Privacy: the terms of a private training, and the ledger of a dataset."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, Strict

from tangent_composer.schemas.names import Label
from tangent_composer.schemas.texts import Given
from tangent_composer.vocabulary import DELTAS, EPSILONS, MAX_PRIVATE_LABELS

Epsilon = Annotated[float, Strict(), Field(ge=EPSILONS[0], le=EPSILONS[1], allow_inf_nan=False)]
Delta = Annotated[
    float,
    Strict(),
    Field(
        ge=DELTAS[0],
        le=DELTAS[1],
        allow_inf_nan=False,
        description="the chance that epsilon does not hold: below 1 / number of images",
    ),
]


class PrivacyIn(Given):
    """The promise that a component keeps about each image, or group, that it is trained on.

    With and without any one of them, every component comes out with about the same probability:
    they differ by a factor of e^epsilon at most, but for a chance of delta.
    """

    model_config = ConfigDict(json_schema_extra={"example": {"epsilon": 3.0, "delta": 1e-5}})

    epsilon: Epsilon
    delta: Delta
    unit: Literal["image", "group"] = Field(
        "image",
        description="what the promise is about: an image, or all images that the manifest's column "
        "`group` puts together, such as those of a patient",
    )
    neighbours: Literal["add_remove"] = "add_remove"
    mechanism: Literal["class_sums", "adassp"] = Field(
        "class_sums",
        description="class_sums: noise on the sums of features, and the curvature of images that "
        "are nobody's; adassp: noise on both, for far more images than features squared",
    )
    labels: list[Label] | None = Field(
        None,
        max_length=MAX_PRIVATE_LABELS,
        description="public; images of others are not used. Left out: those of the dataset, "
        "which this request makes public",
    )


class PrivacyOut(BaseModel):
    """The promise that a component keeps; of an imported one, what its file claims."""

    epsilon: float
    delta: float
    unit: str
    neighbours: str
    mechanism: str
    labels: list[str] = Field(description="public: the component has each, with images or without")
    noise_multiplier: float = Field(
        description="sigma of the noise over the largest change that one unit makes"
    )


class PrivacyTotalOut(BaseModel):
    """The privacy of all private components that a selection has, or was derived from, together."""

    epsilon: float | None = Field(description="null: none of them is private")
    delta: float | None
    unit: Literal["image", "group"] | None = Field(
        None, description="what it is about: a group if all private components are about groups"
    )
    private: list[str] = Field(
        description="ids of the private components, with those that a component was derived from"
    )
    not_private: int = Field(
        description="number of others, about whose images nothing is promised; not of components "
        "that were derived here from private ones alone. An imported derived component is one of "
        "them: only its file says what it was made of"
    )


class PrivacySpentOut(BaseModel):
    """The privacy that all private components of an answer have spent together."""

    epsilon: float
    delta: float
    unit: Literal["image", "group"] = Field(description="what it is about")

    @classmethod
    def of(cls, total: Any, unit: Any) -> Self:
        """Return the view of a total."""
        return cls(epsilon=total.epsilon, delta=total.delta, unit=unit)


class PrivacyBudgetIn(Given):
    """The most that all private trainings of a dataset may spend together."""

    model_config = ConfigDict(json_schema_extra={"example": {"epsilon": 8.0, "delta": 1e-5}})

    epsilon: Annotated[float, Strict(), Field(gt=0, le=1000, allow_inf_nan=False)]
    delta: Delta
    unit: Literal["image", "group"] = Field(
        "image",
        description="what the budget is about. A training about images counts for a group as often "
        "as its largest group has images, one about groups twice for an image",
    )


class PrivacySpendOut(BaseModel):
    """A private training: reserved until it ends; spent for ever once its component was ready."""

    id: str
    component_id: str
    epsilon: float
    delta: float
    noise_multiplier: float
    unit: str
    state: Literal["reserved", "spent", "returned"]
    created_at: datetime


class PrivacyLedgerOut(BaseModel):
    """The privacy that private trainings of a dataset have spent, and what its budget leaves."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "dataset_id": "ds_0190",
                "budget": {"epsilon": 8.0, "delta": 1e-5},
                "spent": {"epsilon": 3.0, "delta": 1e-5},
                "left": 6.94,
                "unit": "image",
                "elsewhere": 0,
                "accountant": "dp-accounting 0.6.0",
                "spends": [],
            }
        }
    )

    dataset_id: str
    budget: dict[str, float] | None = Field(description="epsilon and delta; null: no limit")
    spent: dict[str, float] = Field(description="epsilon and delta of all that count, together")
    left: float | None = Field(
        description="about the largest epsilon of one more training, at the budget's unit and "
        "delta; null without a budget"
    )
    unit: Literal["image", "group"] = Field(description="what budget, spent and left are about")
    elsewhere: int = Field(
        description="spends on other datasets that hold an image of this one; they count here too"
    )
    accountant: str
    spends: list[PrivacySpendOut]

    @classmethod
    def of(cls, dataset_id: str, ledger: Any, accountant: str) -> Self:
        """Return the view of a dataset's ledger."""
        same = set(PrivacySpendOut.model_fields) - {"state"}
        return cls(
            dataset_id=dataset_id,
            budget=ledger.budget and {k: ledger.budget[k] for k in ("epsilon", "delta")},
            unit=ledger.unit,
            spent=ledger.total._asdict(),
            left=ledger.left,
            elsewhere=ledger.elsewhere,
            accountant=accountant,
            spends=[
                PrivacySpendOut(state=state, **{name: getattr(row, name) for name in same})
                for row, state in ledger.spends
            ],
        )
