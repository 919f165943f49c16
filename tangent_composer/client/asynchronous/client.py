"""The client of a service: one object with a part for each noun, and the predictions."""

from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

from tangent_composer import environment
from tangent_composer.client import login
from tangent_composer.client.asynchronous.batch_predictions import AsyncBatchPredictions
from tangent_composer.client.asynchronous.components import AsyncComponents
from tangent_composer.client.asynchronous.compositions import AsyncCompositions
from tangent_composer.client.asynchronous.datasets import AsyncDatasets
from tangent_composer.client.asynchronous.evaluations import AsyncEvaluation, AsyncEvaluations
from tangent_composer.client.asynchronous.images import AsyncImages
from tangent_composer.client.asynchronous.receipts import AsyncReceipts
from tangent_composer.client.asynchronous.spaces import AsyncSpaces
from tangent_composer.client.asynchronous.transport import AsyncTransport, parsed
from tangent_composer.client.batches import batches
from tangent_composer.client.comparison import Comparison
from tangent_composer.client.errors import Failed
from tangent_composer.client.forms import form_of
from tangent_composer.client.pictures import Picture, media_type, pictures
from tangent_composer.client.predictions import MAX_LABELS, Predictions, model_of
from tangent_composer.client.progress import Shown, Step, shown
from tangent_composer.client.retries import Retries
from tangent_composer.client.selection import Chosen, listed, selection
from tangent_composer.client.waiting import async_call
from tangent_composer.schemas.answers import PredictionOut, Result
from tangent_composer.schemas.images import ImageSearchOut
from tangent_composer.schemas.meta import Limits, Ready
from tangent_composer.schemas.previews import PreviewOut
from tangent_composer.schemas.receipts import ReceiptOut
from tangent_composer.vocabulary import Rule

NUMBERS = ("logits", "probabilities")
ATTRIBUTIONS = ("contributions", "leave_one_out", "directions")  # of few images in a request
MAX_ROUNDS = 3  # of asking again, while the model changes between the requests of one prediction


class AsyncClient:
    """A service, and what can be asked of it.

    url: else TANGENT_URL, else the address of `tangent login`, else http://127.0.0.1:8000. api_key:
    else TANGENT_API_KEY, else the key of `tangent login` for this address; "" sends none. timeout:
    seconds without a byte. retries: how often a request is sent again; a service that asks for a
    pause of more than 60 seconds is not asked again. progress: whether long work shows how far it
    is; a function is called with each step.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        api_key: str | None = None,
        timeout: float = 120.0,
        retries: int = 5,
        progress: Shown = "auto",
    ) -> None:
        address = login.address(url)
        key = api_key
        if key is None:
            key = environment.variable(environment.API_KEY) or login.key_of(address)
        self._transport = AsyncTransport(address, key, timeout, Retries(most=retries))
        self._progress = progress
        self._limits: Limits | None = None
        self.url = self._transport.url
        self.batch_predictions = AsyncBatchPredictions(self._transport, progress)
        self.components = AsyncComponents(self._transport, progress)
        self.compositions = AsyncCompositions(self._transport)
        self.datasets = AsyncDatasets(self._transport, progress)
        self.evaluations = AsyncEvaluations(self._transport, progress)
        self.images = AsyncImages(self._transport)
        self.receipts = AsyncReceipts(self._transport)
        self.spaces = AsyncSpaces(self._transport)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._transport.aclose()

    async def limits(self) -> Limits:
        """Return the bounds of requests, asked for once."""
        if self._limits is None:
            self._limits = await self._transport.get("/v1/limits", Limits)
        return self._limits

    async def ready(self) -> Ready:
        """Return whether the service can answer, and its checks."""
        return await self._transport.get("/readyz", Ready)

    async def predict(
        self,
        images: Any,
        *,
        composition: str | None = None,
        components: Chosen | None = None,
        space: str | None = None,
        rule: Rule | None = None,
        top_k: int = 5,
        labels: str | Sequence[str] | None = None,
        abstain_above: float | None = None,
        abstain_below: float | None = None,
        calibration_dataset: str | None = None,
        contributions: bool = False,
        leave_one_out: bool = False,
        directions: bool = False,
        deterministic: bool = False,
        progress: Shown | None = None,
    ) -> Predictions:
        """Return the answers to images: files, bytes, Pillow images, arrays, folders, or a list.

        Open files are read from where they stand. One model answers all, in as many requests as the
        limits need. directions: for `reweight`. calibration_dataset: its id; fits the temperature.

        Raises:
            Failed: the model kept changing between the requests.
        """
        found = pictures(images)
        query = selection(composition, components, space, rule) | {
            "top_k": MAX_LABELS if contributions else top_k,
            "labels": listed(labels),
            "abstain_above": abstain_above,
            "abstain_below": abstain_below,
            "calibration_dataset": calibration_dataset,
            "deterministic": deterministic or None,
            "return": _parts(contributions, leave_one_out, directions),
        }
        answers = await self._answers(found, form_of(query), progress)
        known = await self._labels_of(answers[0]) if contributions or directions else {}
        return Predictions(found, _numbered(answers), answers, shown=top_k, labels_of=known)

    async def _labels_of(self, answer: PredictionOut) -> dict[str, list[str]]:
        """Return the labels of each component that answered."""
        return {
            used.id: (await self.components.get(used.id)).labels
            if used.labels is None
            else used.labels
            for used in answer.components
        }

    async def _answers(
        self, found: Sequence[Picture], form: dict[str, str], progress: Shown | None
    ) -> list[PredictionOut]:
        limits = await self.limits()
        answers: list[PredictionOut] = []
        count = limits.max_prediction_images
        if any(each in form.get("return", "") for each in ATTRIBUTIONS):
            count = min(count, max(1, limits.max_attributions // limits.max_attributed_components))
        lots = list(batches(found, count, limits.max_request_bytes))
        how = self._progress if progress is None else progress
        with shown(how if len(found) > 1 else False, "predicting") as report:
            done = 0
            for batch in lots:
                answers.append(await self._answer(batch, form))
                done += len(batch)
                report(Step(done, len(found), f"{done} of {len(found)} images"))
        await self._ask_again(lots, answers, form)
        return answers

    async def _answer(self, batch: Sequence[Picture], form: dict[str, str]) -> PredictionOut:
        files = await async_call(_files, batch)
        answer = await self._transport.send(
            "POST",
            "/v1/predictions",
            body=lambda: {"data": form, "files": files},
            reads=True,
        )
        return parsed(answer, PredictionOut)

    async def _ask_again(
        self, lots: Sequence[Sequence[Picture]], answers: list[PredictionOut], form: dict[str, str]
    ) -> None:
        """Ask again what another model has answered than the last, as it changed in between."""
        newest, rounds = model_of(answers[-1]) if answers else None, 0
        while others := [n for n, each in enumerate(answers) if model_of(each) != newest]:
            rounds += 1
            if rounds > MAX_ROUNDS:
                raise Failed(
                    "selection_changing",
                    f"the components or weights that answer changed in each of {MAX_ROUNDS} "
                    f"attempts, so the answers of the {len(lots)} requests for these images do not "
                    "belong together",
                    "name the components, or predict fewer images at a time",
                )
            for n in others:
                answers[n] = await self._answer(lots[n], form)
                newest = model_of(answers[n])

    async def evaluate(
        self,
        dataset_id: str,
        *,
        composition: str | None = None,
        components: Chosen | None = None,
        space: str | None = None,
        rule: Rule | None = None,
        split: str | None = None,
        timeout: float | None = None,
        progress: Shown | None = None,
    ) -> AsyncEvaluation:
        """Evaluate a selection on a dataset, and wait for the result."""
        started = await self.evaluations.start(
            dataset_id,
            composition=composition,
            components=components,
            space=space,
            rule=rule,
            split=split,
        )
        return await started.wait(timeout=timeout, progress=progress)

    async def compare(
        self,
        dataset_id: str,
        before: dict[str, Any],
        after: dict[str, Any],
        *,
        split: str | None = None,
    ) -> Comparison:
        """Evaluate two selections on a dataset; return them side by side.

        A selection has the arguments of `evaluate`: `{"composition": "all-sites"}`.
        """
        ids = []
        for chosen in (before, after):
            ids.append((await self.evaluate(dataset_id, split=split, **chosen)).id)
        return await self.evaluations.compare(*ids)

    async def preview(self, component_id: str, **on: Any) -> PreviewOut:
        """Return what deleting a component would change."""
        return await self.components.preview(component_id, **on)

    async def unlearn(self, id_: str, *, cascade: bool = False) -> ReceiptOut:
        """Delete a component or a dataset by its id, and return the receipt."""
        if id_.startswith("ds_"):
            return await self.datasets.unlearn(id_, cascade=cascade)
        return await self.components.unlearn(id_)

    async def find(self, image: Any, *, distance: int | None = None) -> ImageSearchOut:
        """Return the images that are this one or look like it, and what holds them."""
        return await self.images.find(image, distance=distance)


def _parts(*asked: bool) -> list[str] | None:
    """Return what to ask for in an answer, by ATTRIBUTIONS; None for the service's own choice."""
    parts = [name for name, is_asked in zip(ATTRIBUTIONS, asked, strict=True) if is_asked]
    return [*NUMBERS, *parts] if parts else None


def _numbered(answers: Sequence[PredictionOut]) -> list[Result]:
    """Return the results of all answers, numbered from first to last."""
    results = [result for answer in answers for result in answer.results]
    return [each.model_copy(update={"index": n}) for n, each in enumerate(results)]


def _files(batch: Sequence[Picture]) -> list[tuple[str, tuple[str, bytes, str]]]:
    read = ((picture.name, picture.read()) for picture in batch)
    return [("images", (name, data, media_type(data))) for name, data in read]
