"""Predictions: the request with images, selection and ranking, and the answer."""

from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Field, Strict

from tangent_composer.labels import MAX_LABEL
from tangent_composer.schemas.numbers import NUMBER_OR_TEXT
from tangent_composer.schemas.texts import MAX_LISTED, Closed, Given
from tangent_composer.vocabulary import LINEAR, Rule

JOINT = (
    "joint is the optimum of the plain square loss (alpha = 1) on the pooled statistics of the "
    "components, whatever loss a component's own delta was trained with: exactly so at scopes "
    f"{' and '.join(LINEAR)}; at block scopes near it at first, then refined over the images that "
    "are held; discriminant, at these scopes only, is the linear discriminant of the same "
    "statistics: every label is taken as equally likely, where joint expects them as often as in "
    "training"
)
RETURN = (
    "logits and probabilities; novelty: how new the image is; contributions: what each component "
    "added to every logit shown; leave_one_out: the answer without each of them, its probabilities "
    "at the temperature of the whole selection; directions: what each adds to every logit at "
    "weight one, for rules average and weighted only. The last three are not for rule "
    "discriminant, and for at most max_attributed_components components and max_attributions pairs "
    "of an image and a component, see GET /v1/limits, and bring the first two along unless one of "
    "these is named. With contributions or leave_one_out, rule joint at a block scope answers in "
    "one shot also where it is refined: only that answer has parts"
)
ABSTAIN_ABOVE = (
    "answer label null for images of a higher novelty, such as 0.99: pictures unlike those of the "
    "training; about one in a hundred like them is then without a label too"
)
ABSTAIN_BELOW = "answer label null for images of a lower margin: two labels are nearly equal"
CALIBRATION_DATASET = (
    "id of a dataset whose images the temperature of probabilities is fitted to, in place of the "
    "training images left out: at every scope, and for imported components too; images that the "
    "components were trained on are not used"
)
MAX_NAME = 64  # of a composition or a space
NUMBERS = ("logits", "probabilities")
Part = Literal[  # of an answer
    "logits", "probabilities", "novelty", "contributions", "leave_one_out", "directions"
]
CALIBRATED = ("probabilities", "novelty")  # numbers that need a calibration
DETERMINISTIC = (
    "pass each image through the network by itself, so that one image and one selection give the "
    "same numbers to the last bit whatever else the service answers; else images of several "
    "requests share a pass, and logits may differ by a millionth of the largest one; slower"
)


def _unsigned_zero(value: float) -> float:
    """Return 0.0 for -0.0, which equals it, so that answers show one and the same zero."""
    return value + 0.0


Weight = Annotated[float, Strict(), Field(allow_inf_nan=False), AfterValidator(_unsigned_zero)]


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

    top_k: Annotated[int, NUMBER_OR_TEXT] = Field(
        5, ge=1, le=1000, description="most labels in an image's answer"
    )
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
    abstain_above: Annotated[float, Field(ge=0, le=1), NUMBER_OR_TEXT] | None = Field(
        None, description=ABSTAIN_ABOVE
    )
    abstain_below: Annotated[float, Field(ge=0, allow_inf_nan=False), NUMBER_OR_TEXT] | None = (
        Field(None, description=ABSTAIN_BELOW)
    )
    deterministic: bool = Field(False, description=DETERMINISTIC)


class PredictionQuery(RankingQuery):
    """A prediction without its images."""

    return_: Annotated[
        list[
            Literal[
                "logits", "probabilities", "novelty", "contributions", "leave_one_out", "directions"
            ]
        ],
        Field(min_length=1, max_length=MAX_LISTED),
        AfterValidator(_with_numbers),
    ] = Field(["logits", "probabilities", "novelty"], alias="return", description=RETURN)

    calibration_dataset: str | None = Field(None, max_length=64, description=CALIBRATION_DATASET)

    @property
    def is_directed(self) -> bool:
        """Return whether the answer has the direction of each component."""
        return "directions" in self.return_

    @property
    def is_judged(self) -> bool:
        """Return whether the answer needs a calibration."""
        return self.abstain_above is not None or bool(set(CALIBRATED) & set(self.return_))


class EncodedImage(Closed):
    b64: str = Field(description="the image file's bytes in base64")


TINY_PNG = (  # of four pixels: an example that works as it is
    "iVBORw0KGgoAAAANSUhEUgAAAAIAAAACCAIAAAD91JpzAAAAFklEQVR42mM8MS2KgYGBiYGBgYGBAQAVOAG8Muc7"
    "bgAAAABJRU5ErkJggg=="
)


class PredictionIn(PredictionQuery):
    """A prediction's JSON body."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "images": [{"b64": TINY_PNG}],
                "top_k": 3,
            }
        }
    )

    images: list[EncodedImage] = Field(min_length=1, max_length=MAX_LISTED)
