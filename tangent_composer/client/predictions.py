"""Answers to images, as tables and plots, and re-weighted without asking the service again."""

import math
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from tangent_composer.client.errors import BadInput, NotLinear
from tangent_composer.client.pictures import Picture
from tangent_composer.client.selection import weight_of
from tangent_composer.schemas.answers import (
    Contribution,
    Contributions,
    Directions,
    PredictionOut,
    Ranked,
    Result,
)
from tangent_composer.vocabulary import MAX_WEIGHT, MIN_WEIGHT

if TYPE_CHECKING:
    import pandas
    from matplotlib.figure import Figure

SUMS = ("average", "weighted")  # rules whose answers are sums over the components
MAX_LABELS = 1000  # that an answer ranks


@dataclass(frozen=True)
class Predictions:
    """The answers to images, in their order, and what they were computed from.

    answers: the service's own, one for each request. shown: labels in tables and plots. labels_of:
    the labels of each component, where its contributions or directions were asked for.
    """

    pictures: Sequence[Picture]
    results: Sequence[Result]
    answers: Sequence[PredictionOut]
    shown: int = 5
    labels_of: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.results)

    def __iter__(self) -> Iterator[Result]:
        return iter(self.results)

    def __getitem__(self, index: int) -> Result:
        return self.results[index]

    @property
    def names(self) -> list[str]:
        """The images' names."""
        return [picture.name for picture in self.pictures]

    @property
    def labels(self) -> list[str | None]:
        """The best label of each image; None if the answer abstains, or the image has an error."""
        return [result.label for result in self.results]

    @property
    def rule(self) -> str:
        """The rule that summed the components."""
        return self.answers[0].rule

    @property
    def weights(self) -> dict[str, float]:
        """The components that answered, with their weights."""
        return {each.id: each.weight for each in self.answers[0].components}

    def to_pandas(self, *, long: bool = False) -> "pandas.DataFrame":
        """Return a table with a row for each image, or if `long` for each image and label.

        Raises:
            BadInput: pandas is not installed.
        """
        try:
            import pandas
        except ImportError:
            raise _lacking("pandas") from None
        rows = self._ranked_rows() if long else self._rows()
        return pandas.DataFrame(list(rows))

    def _rows(self) -> Iterator[dict[str, Any]]:
        for name, result in zip(self.names, self.results, strict=True):
            best = result.predictions[0] if result.predictions else Ranked(label="")
            yield {
                "image": name,
                "label": result.label,
                "probability": best.probability,
                "logit": best.logit,
                "novelty": result.novelty,
                "margin": result.margin,
                "abstained": result.abstention.by if result.abstention else None,
                "error": result.error.detail if result.error else None,
            }

    def _ranked_rows(self) -> Iterator[dict[str, Any]]:
        for name, result in zip(self.names, self.results, strict=True):
            for rank, each in enumerate((result.predictions or [])[: self.shown], 1):
                row = {"image": name, "rank": rank, "label": each.label}
                yield row | {"probability": each.probability, "logit": each.logit}

    def plot(self, *, columns: int = 4, most: int = 16) -> "Figure":
        """Return a figure of the first images, each above the probabilities of its labels.

        Raises:
            BadInput: matplotlib or Pillow is not installed.
        """
        try:
            from tangent_composer.client.plots import figure
        except ImportError as error:
            raise _lacking(str(error.name)) from None
        return figure(self, columns=columns, most=most)

    def reweight(self, weights: Mapping[str, float]) -> "Predictions":
        """Return the answers with other weights, as the service would give them by rule `weighted`.

        Components that are not named keep their weight. Needs no request: the answers are sums over
        the components, each times its weight. They have no probabilities: those of other weights
        need a calibration anew.

        Raises:
            NotLinear: the rule is no sum, or the answers do not have what each component added.
            BadInput: a component is none of these answers, or the service takes no such weight.
        """
        self._check_one_model()
        new = self._checked(weights)
        answers = [
            answer.model_copy(
                update={
                    "rule": "weighted",
                    "composition": None,
                    "calibration": None,
                    "components": [
                        each.model_copy(update={"weight": new[each.id]})
                        for each in answer.components
                    ],
                }
            )
            for answer in self.answers
        ]
        known = {label for id_, weight in new.items() if weight for label in self.labels_of[id_]}
        results = [
            result
            if (parts := _parts_at(result, self.weights, new)) is None
            else _reweighted(result, parts, known)
            for result in self.results
        ]
        return replace(self, results=results, answers=answers)

    def _check_one_model(self) -> None:
        """Refuse answers of several models, whose parts are not those of the same components."""
        known = self.weights
        taken_apart = [part for result in self.results for part in _taken_apart(result)]
        strange = {each.id for part in taken_apart for each in part.components} - set(known)
        if strange or len({model_of(answer) for answer in self.answers}) > 1:
            others = f", as those of {', '.join(sorted(strange))}" if strange else ""
            raise NotLinear(
                "several_models",
                f"these answers come from several choices of components or weights{others}",
                "predict again, all images in one call",
            )

    def _checked(self, weights: Mapping[str, float]) -> dict[str, float]:
        """Return all weights, the new ones and those that stay."""
        if self.rule not in SUMS:
            raise NotLinear(
                "not_linear",
                f"answers of rule {self.rule} are no sum over the components: with other weights "
                "it solves for other numbers",
                "ask the service: predict(images, components={id: weight}, "
                f"rule='{self.rule}'), or predict by rule='weighted' first",
            )
        known = self.weights
        for id_, given in weights.items():
            if id_ not in known:
                raise BadInput(
                    "unknown_component",
                    f"{id_} has no part in these answers",
                    f"their components are {', '.join(known)}",
                )
            weight = _sized(weight_of(id_, given))
            if known[id_] == 0 and weight != 0 and any(map(_lacks_directions, self.results)):
                raise NotLinear(
                    "weight_was_zero",
                    f"{id_} had weight 0, so these answers do not tell what it adds",
                    "predict(…, directions=True), or predict with a weight of 1 first",
                )
        for result in filter(_lacks_directions, self.results):
            if result.contributions is None:
                raise NotLinear(
                    "no_contributions",
                    "these answers do not tell what each component added",
                    "predict(…, directions=True)",
                )
            if len(result.predictions or []) == MAX_LABELS:
                raise NotLinear(
                    "too_many_labels",
                    f"the answers may leave labels out: they rank at most {MAX_LABELS}",
                    "ask the service with the new weights",
                )
        return known | {id_: float(weight) for id_, weight in weights.items()}


def model_of(answer: PredictionOut) -> tuple[Any, ...]:
    """Return what an answer was computed by: space, rule, and components with their weights."""
    used = [(each.id, each.weight, each.sha256) for each in answer.components]
    return answer.space, answer.fingerprint, answer.rule, answer.joint, tuple(used)


def _sized(weight: float) -> float:
    """Return the weight if the service, too, would take its size."""
    if weight == 0 or MIN_WEIGHT <= abs(weight) <= MAX_WEIGHT:
        return weight
    sizes = f"finite numbers, 0 or of a size from {MIN_WEIGHT:g} to {MAX_WEIGHT:g}"
    raise BadInput("bad_weight", f"{weight} is no weight", f"give {sizes}")


def _taken_apart(result: Result) -> list[Contributions | Directions]:
    """Return what the answer has of each component."""
    return [part for part in (result.contributions, result.directions) if part is not None]


def _lacks_directions(result: Result) -> bool:
    return result.error is None and result.directions is None


def _parts_at(
    result: Result, old: Mapping[str, float], new: Mapping[str, float]
) -> Contributions | None:
    """Return what each component adds at the new weights; None for an image with an error."""
    apart = result.directions or result.contributions
    if apart is None:
        return None
    factors = dict(new)
    if apart is result.contributions:  # which are at the old weights
        factors = {id_: new[id_] / weight for id_, weight in old.items() if weight != 0}
    scaled = [
        Contribution(
            id=each.id,
            logits={label: factors.get(each.id, 0.0) * z for label, z in each.logits.items()},
        )
        for each in apart.components
    ]
    return Contributions(base=apart.base, components=scaled)


def _reweighted(result: Result, parts: Contributions, known: Set[str]) -> Result:
    """Return the answer that is the sum of these parts, of the labels that a component knows."""
    logits = {
        label: math.fsum([base, *(each.logits.get(label, 0.0) for each in parts.components)])
        for label, base in parts.base.items()
        if label in known
    }
    ranked = _ranked(logits)
    margin = None
    if len(ranked) > 1:
        margin = (ranked[0].logit or 0.0) - (ranked[1].logit or 0.0)
    return result.model_copy(
        update={
            "label": ranked[0].label if ranked else None,
            "predictions": ranked,
            "contributions": parts,
            "leave_one_out": None,
            "margin": margin,
            "novelty": None,
            "abstention": None,
        }
    )


def _ranked(logits: Mapping[str, float]) -> list[Ranked]:
    """Return the labels with their logits, the best first, equal ones by name."""
    ordered = sorted(logits.items(), key=lambda pair: (-pair[1], pair[0]))
    return [Ranked(label=label, logit=logit) for label, logit in ordered]


def _lacking(package: str) -> BadInput:
    return BadInput(
        f"needs_{package}",
        f"{package} is not installed",
        "pip install 'tangent-composer[notebook]'",
    )
