"""Answers of predictions: every image's labels, how sure and how new, and what they came from."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from tangent_composer.schemas.privacy import PrivacySpentOut
from tangent_composer.schemas.problems import ProblemOut
from tangent_composer.vocabulary import Rule

NOVELTY = (
    "from 0 to 1: the share of the components' training images, each left out, that are less new "
    "to the components than this image; pictures of another kind have 1, see abstain_above. null "
    "where calibration says no_novelty"
)
MARGIN = "the best logit less the second one, of the ranked labels; null for one label"


class Ranked(BaseModel):
    label: str
    probability: float | None = Field(
        None, description="softmax over the ranked labels, at the temperature of calibration"
    )
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


class Direction(BaseModel):
    """The amount that one component adds to every logit at weight one."""

    id: str
    logits: dict[str, float]


class Directions(BaseModel):
    """The answers at all weights, under average and weighted: base logits + Σ weight · direction.

    They have all labels that a component of the selection knows, also one of weight 0, or those
    that were asked for. An answer ranks those that a component with another weight than 0 knows.
    """

    base: dict[str, float] = Field(description="the backbone's own logits, with no component")
    components: list[Direction] = Field(description="in the order of the answer's components")


class WithoutOne(BaseModel):
    """The answer of all other components, with the logits of a prediction through them alone.

    Its probabilities are at the temperature of the whole selection.
    """

    id: str = Field(description="the component left out")
    predictions: list[Ranked] | None = Field(description="null if there is no other component")


class Abstention(BaseModel):
    """The reason for which an image has no label as its answer."""

    by: Literal["novelty", "margin"]
    detail: str


class Result(BaseModel):
    """The answer to one image: a label, and predictions, best first; or the image's error."""

    index: int
    label: str | None = Field(None, description="the best label; null if the answer abstains")
    abstention: Abstention | None = None
    novelty: float | None = Field(None, description=NOVELTY)
    margin: float | None = Field(None, description=MARGIN)
    predictions: list[Ranked] | None = None
    contributions: Contributions | None = None
    leave_one_out: list[WithoutOne] | None = None
    directions: Directions | None = Field(
        None, description="the answers at other weights; only where `return` asks for it"
    )
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


class AnsweringComponent(UsedComponent):
    """A component of a prediction, with its labels where other weights may be wanted."""

    labels: list[str] | None = Field(
        None, description="those that it knows; only where `return` asks for directions"
    )


class Timing(BaseModel):
    """The milliseconds of each part of the work; batches are shared with other requests."""

    turn_ms: float = 0.0
    queue_ms: float
    decode_ms: float
    calibrate_ms: float = 0.0
    compose_ms: float
    forward_ms: float


class CalibrationOut(BaseModel):
    """The calibration of the answers: by images of the components' own training, each left out.

    It is made again after every change of the selection, and nothing keeps it past a deletion.
    """

    images: int = Field(description="training images, of those that the service holds")
    temperature: float | None = Field(
        description="the logits' divisor in probabilities, from exact leave-one-out answers; null: "
        "the probabilities are not calibrated, for the reason of no_temperature"
    )
    no_temperature: str | None
    no_novelty: str | None
    dataset_id: str | None = Field(
        None, description="the named dataset by which the temperature was fitted instead"
    )
    dataset_images: int | None = Field(
        None, description="its images, of those that no component was trained on"
    )


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
                "privacy": None,
                "calibration": {
                    "images": 256,
                    "temperature": 1.3,
                    "no_temperature": None,
                    "no_novelty": None,
                },
                "results": [
                    {
                        "index": 0,
                        "label": "seven",
                        "novelty": 0.41,
                        "margin": 5.2,
                        "predictions": [{"label": "seven", "probability": 0.93, "logit": 6.1}],
                        "contributions": {
                            "base": {"seven": 0.2},
                            "components": [{"id": "cmp_0190", "logits": {"seven": 5.9}}],
                        },
                        "leave_one_out": [{"id": "cmp_0190", "predictions": None}],
                    }
                ],
                "timing": {
                    "turn_ms": 0.0,
                    "queue_ms": 0.2,
                    "decode_ms": 0.8,
                    "calibrate_ms": 0.0,
                    "compose_ms": 0.1,
                    "forward_ms": 9.7,
                },
            }
        }
    )

    space: str
    fingerprint: str
    rule: Rule
    composition: UsedComposition | None
    components: list[AnsweringComponent]
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
    privacy: PrivacySpentOut | None = Field(
        None,
        description="of its private components together, as in GET /v1/compositions/{name}/privacy "
        "of the same; null: none is private",
    )
    calibration: CalibrationOut | None = Field(
        None, description="null if return has neither probabilities nor novelty"
    )
    results: list[Result]
    timing: Timing
