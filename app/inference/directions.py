"""Directions: what each component changes of every logit at weight one, for other weights.

Under `average` and `weighted` the logits of any weights are `base + sum of weight · direction`, so
who has the directions can tell the answer of other weights without asking for it.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from app.errors import Invalid
from app.inference import ranking
from app.inference.models import Effects
from app.settings import Settings
from app.store.compositions import Selection
from tangent_composer.schemas.answers import Direction, Directions
from tangent_composer.schemas.predictions import PredictionQuery

DIRECTIONS = "directions"
LINEAR_RULES = ("average", "weighted")


def labels_of(selection: Selection, query: PredictionQuery) -> tuple[str, ...]:
    """Return the labels of the directions: all that a component knows, or those that are asked for.

    A component of weight 0 counts, as another weight brings its labels.
    """
    known = sorted({label for part, _ in selection.members for label in part.labels})
    return tuple(known[column] for column in ranking.columns(known, query.labels))


def check(selection: Selection, query: PredictionQuery, images: int, settings: Settings) -> None:
    """Refuse directions where the answer is no sum, and more numbers than an answer may have.

    Raises:
        Invalid: `rule_not_linear`, `too_many_directions`, `unknown_label`.
    """
    if selection.rule not in LINEAR_RULES:
        raise Invalid(
            "rule_not_linear",
            f"answers of rule {selection.rule} are no sum over the components: other weights have "
            "another solution, so there are no directions; ask by rule weighted or average, or "
            "for the answer of each choice of weights",
        )
    numbers = images * (len(selection.members) + 1) * len(labels_of(selection, query))
    if numbers > (most := settings.max_direction_numbers):
        raise Invalid(
            "too_many_directions",
            f"directions of {len(selection.members)} components for {images} images have {numbers} "
            f"numbers, the most are {most}: send fewer images at a time, select fewer components, "
            "or name the labels",
        )


def directions(
    found: Effects, ids: Sequence[str], labels: Sequence[str]
) -> Iterator[dict[str, Any]]:
    """Yield the field of every image's answer, in the images' order."""
    for image in range(len(found.base)):
        base, *moved = [
            dict(zip(labels, logits[image].tolist(), strict=True))
            for logits in (found.base, *found.moved)
        ]
        components = [
            Direction(id=component_id, logits=logits)
            for component_id, logits in zip(ids, moved, strict=True)
        ]
        yield {"directions": Directions(base=base, components=components)}
