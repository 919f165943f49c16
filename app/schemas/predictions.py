"""Predictions: the request with images, selection and ranking, and the answer."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, Strict

from app.schemas.problems import ProblemOut
from app.schemas.texts import MAX_LISTED, Closed, Given
from tangent.components.labels import MAX_LABEL
from tangent.vocabulary import LINEAR, Rule

JOINT = (
    "joint is the optimum of the plain square loss (alpha = 1) on the pooled statistics of the "
    "components, whatever loss a component's own delta was trained with: exactly so at scopes "
    f"{' and '.join(LINEAR)}; at block scopes near it at first, then refined over the images that "
    "are held"
)
RETURN = (
    "logits and probabilities; contributions: what each component added to every logit shown; "
    "leave_one_out: the answer without each of them. The last two are for at most "
    "max_attributed_components components and max_attributions pairs of an image and a component, "
    "see GET /v1/limits, and bring the first two along unless one of these is named"
)
MAX_NAME = 64  # of a composition or a space
NUMBERS = ("logits", "probabilities")
DETERMINISTIC = (
    "pass each image through the network by itself, so that one image and one selection give the "
    "same numbers to the last bit whatever else the service answers; else images of several "
    "requests share a pass, and logits may differ by a millionth of the largest one; slower"
)
Weight = Annotated[float, Strict(), Field(allow_inf_nan=False)]


class Member(Closed):
    """One component of a selection; without a weight, the rule's own."""

    id: str = Field(max_length=64)
    weight: Weight | None = None


class SelectionQuery(Given):
    """The model to use: a named composition, listed components, or all ready ones of a space."""

    model_config = ConfigDict(populate_by_name=True)

    composition: str | None = Field(None, max_length=MAX_NAME, description="name of a composition")
    components: list[Member] | None = Field(
        None, max_length=MAX_LISTED, description="components and their weights"
    )
    space: str | None = Field(
        None, max_length=MAX_NAME, description="name of a space, else `default`"
    )
    rule: Rule | None = Field(None, description=f"how to sum; else the space's own; {JOINT}")


def _each_once(values: list[str]) -> list[str]:
    return list(dict.fromkeys(values))


def _with_numbers(values: list[str]) -> list[str]:
    """Add logits and probabilities unless the client named one of them."""
    return values if {"logits", "probabilities"} & set(values) else [*values, *NUMBERS]


class RankingQuery(SelectionQuery):
    """A selection, and the labels to rank by its answers."""

    top_k: int = Field(5, ge=1, le=1000, description="most labels in an image's answer")
    labels: (
        Annotated[
            list[Annotated[str, Field(max_length=MAX_LABEL)]],
            Field(min_length=1, max_length=MAX_LISTED),
            AfterValidator(_each_once),
        ]
        | None
    ) = Field(
        None, description="rank these labels only; each must be one of the selected components"
    )
    deterministic: bool = Field(False, description=DETERMINISTIC)


class PredictionQuery(RankingQuery):
    """A prediction without its images."""

    return_: Annotated[
        list[Literal["logits", "probabilities", "contributions", "leave_one_out"]],
        Field(min_length=1, max_length=MAX_LISTED),
        AfterValidator(_with_numbers),
    ] = Field(["logits", "probabilities"], alias="return", description=RETURN)


class EncodedImage(Closed):
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

    images: list[EncodedImage] = Field(min_length=1, max_length=MAX_LISTED)


class Ranked(BaseModel):
    label: str
    probability: float | None = Field(None, description="softmax over the ranked labels")
    logit: float | None = None


class Contribution(BaseModel):
    """The amount that one component added to every logit shown."""

    id: str
    logits: dict[str, float]


class Contributions(BaseModel):
    """The attribution of an answer: base logits and contributions sum to the logits shown.

    Under average and weighted a component adds its weight times its own change of the logit. Under
    joint it adds its own data's term of the pooled problem, solved under the curvature of all data.
    """

    base: dict[str, float] = Field(description="the backbone's own logits, with no component")
    components: list[Contribution]


class WithoutOne(BaseModel):
    """The answer of all other components, as a prediction through them alone gives it."""

    id: str = Field(description="the component left out")
    predictions: list[Ranked] | None = Field(description="null if there is no other component")


class Result(BaseModel):
    """The answer to one image: predictions, best first, or the image's error."""

    index: int
    predictions: list[Ranked] | None = None
    contributions: Contributions | None = None
    leave_one_out: list[WithoutOne] | None = None
    error: ProblemOut | None = None


class RefinementOut(BaseModel):
    """The component that, once ready, makes a joint answer at a block scope the pooled optimum."""

    id: str
    status: str


class UsedComposition(BaseModel):
    name: str
    etag: str


class UsedComponent(BaseModel):
    id: str
    weight: float
    sha256: str


class Timing(BaseModel):
    """The milliseconds of each part of the work; batches are shared with other requests."""

    queue_ms: float
    decode_ms: float
    compose_ms: float
    forward_ms: float


class UnavailableComponent(BaseModel):
    id: str
    code: str = Field(description="component_damaged; the component's error says more")


class PredictionOut(BaseModel):
    """The answer and everything it was computed from; the same parts give the same numbers."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "space": "default",
                "fingerprint": "5f0c…",
                "rule": "joint",
                "composition": {"name": "all-sites", "etag": '"9b1d…"'},
                "components": [{"id": "cmp_0190", "weight": 1.0, "sha256": "77aa…"}],
                "joint": "exact",
                "refinement": None,
                "retraining": [],
                "unavailable_components": [],
                "results": [
                    {
                        "index": 0,
                        "predictions": [{"label": "seven", "probability": 0.93, "logit": 6.1}],
                        "contributions": {
                            "base": {"seven": 0.2},
                            "components": [{"id": "cmp_0190", "logits": {"seven": 5.9}}],
                        },
                        "leave_one_out": [{"id": "cmp_0190", "predictions": None}],
                    }
                ],
                "timing": {"queue_ms": 0.2, "decode_ms": 0.8, "compose_ms": 0.1, "forward_ms": 9.7},
            }
        }
    )

    space: str
    fingerprint: str
    rule: Rule
    composition: UsedComposition | None
    components: list[UsedComponent]
    joint: Literal["exact", "refined", "one_shot"] | None = Field(
        description="how near rule joint is to training on all data together: equal; by a few "
        "passes over the images; or from what the components carry. null for other rules"
    )
    refinement: RefinementOut | None = Field(
        description="what makes the next answers refined, once it is ready; at block scopes, for "
        "compositions and for all of a space, if the components' images are held"
    )
    retraining: list[str] = Field(
        description="components left out until they are trained again, as their dataset changed"
    )
    unavailable_components: list[UnavailableComponent] = Field(
        description="components of all that the answer is without, as their files are damaged"
    )
    results: list[Result]
    timing: Timing
