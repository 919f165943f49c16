"""Batch predictions: the answers to a dataset's or an archive's images, as lines of a file."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from tangent_composer.client.archives import UPLOAD_SECONDS, Source, form_file, opened
from tangent_composer.client.asynchronous.passes import AsyncPass, AsyncPasses
from tangent_composer.client.asynchronous.transport import parsed
from tangent_composer.client.downloads import Download
from tangent_composer.client.forms import form_of
from tangent_composer.client.idempotency import random_key
from tangent_composer.client.paths import local, segment
from tangent_composer.client.progress import Shown, shown
from tangent_composer.client.selection import Chosen, selection
from tangent_composer.client.waiting import async_call
from tangent_composer.schemas.batch_predictions import BatchPredictionOut, Format
from tangent_composer.vocabulary import Rule


class AsyncBatchPrediction(BatchPredictionOut, AsyncPass):
    """A batch prediction as it was when last asked for."""

    async def wait(
        self, *, timeout: float | None = None, progress: Shown | None = None
    ) -> "AsyncBatchPrediction":
        """Return the batch prediction once its results are ready.

        Raises:
            Failed: it failed, was cancelled, or a part of it was deleted.
            NotFinished: it is not ready after `timeout` seconds.
        """
        jobs: AsyncBatchPredictions = self._jobs
        return await jobs.wait(self.id, timeout=timeout, progress=progress)

    def results(self) -> AsyncIterator[dict[str, Any]]:
        """Yield the line of each image."""
        jobs: AsyncBatchPredictions = self._jobs
        return jobs.results(self.id)

    async def save(self, path: str | Path, format_: Format | None = None) -> None:
        """Write the results to a file, as `client.batch_predictions.save`."""
        jobs: AsyncBatchPredictions = self._jobs
        await jobs.save(self.id, path, format_)


class AsyncBatchPredictions(AsyncPasses[AsyncBatchPrediction]):
    """The batch predictions of a service."""

    PATH, NOUN, ACTIVITY = "/v1/batch-predictions", "batch prediction", "predicting"
    _model = AsyncBatchPrediction

    async def start(
        self,
        source: Source,
        *,
        composition: str | None = None,
        components: Chosen | None = None,
        space: str | None = None,
        rule: Rule | None = None,
        progress: Shown | None = None,
        **options: Any,
    ) -> AsyncBatchPrediction:
        """Queue the images of an archive or a folder; its `wait()` returns it when it is ready.

        options: top_k, labels, abstain_above, abstain_below, deterministic, code_page.
        """
        form = form_of(selection(composition, components, space, rule) | options)
        how = self._progress if progress is None else progress
        with opened(source) as read, shown(how, "uploading") as report:
            archive = await async_call(read)
            answer = await self._transport.send(
                "POST",
                self.PATH,
                body=lambda: {"data": form, "files": form_file(archive, report)},
                key=random_key(),
                timeout=UPLOAD_SECONDS,
            )
        return self._bound(parsed(answer, AsyncBatchPrediction))

    async def start_dataset(
        self,
        dataset_id: str,
        *,
        composition: str | None = None,
        components: Chosen | None = None,
        space: str | None = None,
        rule: Rule | None = None,
        split: str | None = None,
        **options: Any,
    ) -> AsyncBatchPrediction:
        """Queue the images of a dataset, or of one of its splits; options as of `start`."""
        body = {"dataset_id": dataset_id} | selection(composition, components, space, rule)
        body |= options | ({} if split is None else {"split": split})
        return self._bound(await self._transport.post(self.PATH, AsyncBatchPrediction, body))

    async def results(self, batch_prediction_id: str) -> AsyncIterator[dict[str, Any]]:
        """Yield the line of each image, in the order of the dataset or the archive."""
        path = f"{self.PATH}/{segment(batch_prediction_id)}/results"
        async with self._transport.streamed(path, format="jsonl") as answer:
            async for line in answer.lines():
                yield json.loads(line)

    async def save(
        self, batch_prediction_id: str, path: str | Path, format_: Format | None = None
    ) -> None:
        """Write the results to a file, which is there whole or not at all.

        format_: jsonl or csv; else by the file's ending, else jsonl.

        Raises:
            UnexpectedAnswer: the file that came is not the one that the service has.
        """
        target = local(path)
        kind = format_ or ("csv" if target.suffix.lower() == ".csv" else "jsonl")
        source = f"{self.PATH}/{segment(batch_prediction_id)}/results"
        async with self._transport.streamed(source, format=kind) as answer:
            with Download(target, answer.headers.get("etag")) as file:
                async for data in answer.pieces():
                    await async_call(file.write, data)
