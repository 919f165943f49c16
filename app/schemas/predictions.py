"""Predictions: which images, through which selection, ranked how; and the answer."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, Strict

from app.errors import NotBuilt
from app.schemas.problems import ProblemOut
from app.schemas.texts import Given

LATER = ("contributions", "leave_one_out")

JOINT = (
    "joint is the optimum of the plain square loss (alpha = 1) on the pooled statistics of the "
    "components, whatever loss a component's own delta was trained with"
)
Rule = Literal["average", "weighted", "joint"]
Weight = Annotated[float, Strict(), Field(allow_inf_nan=False)]


class Member(BaseModel):
    """One component of a selection; without a weight, the rule's own."""

    model_config = ConfigDict(extra="forbid")

    id: str = Field(max_length=64)
    weight: Weight | None = None


class Selection(Given):
    """Which model answers: a named composition, or components, or all ready ones of the space."""

    model_config = ConfigDict(populate_by_name=True)

    composition: str | None = Field(None, max_length=64, description="name of a composition")
    components: list[Member] | None = Field(None, description="components and their weights")
    space: str | None = Field(None, max_length=64, description="name of a space, else `default`")
    rule: Rule | None = Field(None, description=f"how to sum; else the space's own; {JOINT}")


def _built(values: Any) -> Any:
    for value in values if isinstance(values, list) else ():
        if value in LATER:
            raise NotBuilt(
                "not_built",
                f"return={value} is not available yet: ask for logits and probabilities",
            )
    return values


def _each_once(values: list[str]) -> list[str]:
    return list(dict.fromkeys(values))


class PredictionQuery(Selection):
    """All of a prediction but its images."""

    top_k: int = Field(5, ge=1, le=1000, description="most labels in an image's answer")
    labels: Annotated[list[str], Field(min_length=1), AfterValidator(_each_once)] | None = Field(
        None, description="rank these labels only; each must be one of the selected components"
    )
    return_: Annotated[
        list[Literal["logits", "probabilities"]], Field(min_length=1), BeforeValidator(_built)
    ] = Field(["logits", "probabilities"], alias="return")


class EncodedImage(BaseModel):
    model_config = ConfigDict(extra="forbid")

    b64: str = Field(description="the image file's bytes in base64")


class PredictionIn(PredictionQuery):
    """A prediction's JSON body."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "images": [{"b64": "iVBORw0KGgoAAAANSUhEUgAA…"}],
                "composition": "all-sites",
                "top_k": 3,
            }
        }
    )

    images: list[EncodedImage] = Field(min_length=1)


class Ranked(BaseModel):
    label: str
    probability: float | None = Field(None, description="softmax over the ranked labels")
    logit: float | None = None


class Result(BaseModel):
    """One image's answer: predictions, best first, or the error that this image has."""

    index: int
    predictions: list[Ranked] | None = None
    error: ProblemOut | None = None


class UsedComposition(BaseModel):
    name: str
    etag: str


class UsedComponent(BaseModel):
    id: str
    weight: float
    sha256: str


class Timing(BaseModel):
    decode_ms: float
    compose_ms: float
    forward_ms: float


class PredictionOut(BaseModel):
    """The answer, with all that it was made from: the same parts give the same numbers."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "space": "default",
                "fingerprint": "5f0c…",
                "rule": "joint",
                "composition": {"name": "all-sites", "etag": '"9b1d…"'},
                "components": [{"id": "cmp_0190", "weight": 1.0, "sha256": "77aa…"}],
                "results": [
                    {
                        "index": 0,
                        "predictions": [{"label": "seven", "probability": 0.93, "logit": 6.1}],
                    }
                ],
                "timing": {"decode_ms": 0.8, "compose_ms": 0.1, "forward_ms": 9.7},
            }
        }
    )

    space: str
    fingerprint: str
    rule: Rule
    composition: UsedComposition | None
    components: list[UsedComponent]
    results: list[Result]
    timing: Timing
