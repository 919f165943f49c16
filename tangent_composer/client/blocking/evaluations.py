# Generated from ../asynchronous by .ci/blocking-client: change that, and run it again.
"""Evaluations: a dataset through a selection, and two of them side by side."""

from collections.abc import Iterator
from typing import Any

from tangent_composer.client.blocking.passes import Pass, Passes
from tangent_composer.client.comparison import Comparison
from tangent_composer.client.paths import segment
from tangent_composer.client.progress import Shown
from tangent_composer.client.selection import Chosen, selection
from tangent_composer.schemas.evaluations import AnsweredImageOut, EvaluationOut
from tangent_composer.vocabulary import Rule


class Evaluation(EvaluationOut, Pass):
    """An evaluation as it was when last asked for."""

    def wait(
        self, *, timeout: float | None = None, progress: Shown | None = None
    ) -> "Evaluation":
        """Return the evaluation once it is ready; may be called again after an interruption.

        Raises:
            Failed: it failed, was cancelled, or a part of it was deleted.
            NotFinished: it is not ready after `timeout` seconds.
        """
        jobs: Evaluations = self._jobs
        return jobs.wait(self.id, timeout=timeout, progress=progress)

    def wrong(self) -> Iterator[AnsweredImageOut]:
        """Yield the images whose first label is not their own."""
        jobs: Evaluations = self._jobs
        return jobs.images(self.id, wrong=True)


class Evaluations(Passes[Evaluation]):
    """The evaluations of a service."""

    PATH, NOUN, ACTIVITY = "/v1/evaluations", "evaluation", "evaluating"
    _model = Evaluation

    def start(
        self,
        dataset_id: str,
        *,
        composition: str | None = None,
        components: Chosen | None = None,
        space: str | None = None,
        rule: Rule | None = None,
        split: str | None = None,
    ) -> Evaluation:
        """Queue an evaluation; its `wait()` returns it when it is ready."""
        body = {"dataset_id": dataset_id} | selection(composition, components, space, rule)
        if split is not None:
            body["split"] = split
        return self._bound(self._transport.post(self.PATH, Evaluation, body))

    def images(self, evaluation_id: str, **filters: Any) -> Iterator[AnsweredImageOut]:
        """Yield the images with their answers, filtered by wrong, label, answered, compared_to."""
        path = f"{self.PATH}/{segment(evaluation_id)}/images"
        return self._transport.each(path, AnsweredImageOut, **filters)

    def compare(self, before: str | EvaluationOut, after: str | EvaluationOut) -> Comparison:
        """Return two evaluations of the same images side by side, with the images that changed."""
        first, second = [
            self.get(each if isinstance(each, str) else each.id) for each in (before, after)
        ]
        changed = [
            image
            for image in self.images(second.id, compared_to=first.id)
            if image.change is not None
        ]
        return Comparison(first, second, changed)
