"""Datasets: uploads, lists and deletions."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

from pydantic import PrivateAttr

from tangent_composer.client.archives import UPLOAD_SECONDS, Source, form_file, opened
from tangent_composer.client.asynchronous.components import ENDED
from tangent_composer.client.asynchronous.transport import AsyncTransport, parsed
from tangent_composer.client.forms import form_of
from tangent_composer.client.idempotency import random_key
from tangent_composer.client.paths import segment
from tangent_composer.client.progress import Shown, shown
from tangent_composer.client.waiting import async_call
from tangent_composer.schemas.components import ComponentOut
from tangent_composer.schemas.dataset_images import AddedImages, CorrectedImage
from tangent_composer.schemas.datasets import (
    DatasetOut,
    DatasetSummary,
    ImageOut,
    RelabelledDataset,
    UploadedDataset,
)
from tangent_composer.schemas.label_reports import LabelReportOut
from tangent_composer.schemas.previews import DatasetPreviewOut
from tangent_composer.schemas.receipts import ReceiptOut


class Dataset(UploadedDataset):
    """A dataset that was uploaded, now or by an earlier request with the same content."""

    _was_there: bool = PrivateAttr(default=False)

    @property
    def was_there(self) -> bool:
        """True if an earlier upload of the same content had made it."""
        return self._was_there


class AsyncDatasets:
    """The datasets of a service."""

    def __init__(self, transport: AsyncTransport, progress: Shown) -> None:
        self._transport, self._progress = transport, progress

    async def upload(
        self,
        source: Source,
        *,
        name: str | None = None,
        train: bool = False,
        space: str | None = None,
        metadata: Mapping[str, str] | None = None,
        hyperparameters: Mapping[str, Any] | None = None,
        seed: int | None = None,
        privacy_budget: Mapping[str, Any] | None = None,
        progress: Shown | None = None,
        idempotency_key: str | None = None,
    ) -> Dataset:
        """Upload an archive by its path, open or as bytes, or a folder of folders named by label.

        The same content under the same name is uploaded once: called again, after an interruption
        too, this returns the dataset that is there. `train` also queues a component, unless there
        is one; `space`, `hyperparameters` and `seed` are its own. privacy_budget: `epsilon`,
        `delta` and `unit` that all private trainings may spend together.
        """
        training = {"space": space, "hyperparameters": hyperparameters, "seed": seed}
        fields = training | {"name": name, "train": train or None, "metadata": metadata}
        fields["privacy_budget"] = privacy_budget
        form = form_of({k: dict(v) if isinstance(v, Mapping) else v for k, v in fields.items()})
        how = self._progress if progress is None else progress
        with opened(source) as read, shown(how, f"uploading {name or ''}".strip()) as report:
            archive = await async_call(read)
            answer = await self._transport.create(
                "/v1/datasets",
                Dataset,
                content={"sha256": archive.sha256, "file": archive.name, "fields": form},
                body=lambda: {"data": form, "files": form_file(archive, report)},
                key=idempotency_key,
                timeout=UPLOAD_SECONDS,
            )
        answer.value._was_there = answer.replayed
        if train and answer.replayed and idempotency_key is None:
            answer.value.component = await self._trained(answer.value, training)
        return answer.value

    async def _trained(self, made: Dataset, settings: Mapping[str, Any]) -> ComponentOut:
        """Return the dataset's component; train another if it was deleted, failed or cancelled."""
        if made.component is not None and made.component.status not in ENDED:
            return made.component
        body = {"dataset_id": made.id}
        body |= {name: value for name, value in settings.items() if value is not None}
        answer = await self._transport.create(
            "/v1/components",
            ComponentOut,
            content=body,
            body=lambda: {"json": body},
            has_ended=lambda component: component.status in ENDED,
        )
        return answer.value

    def each(self, **filters: Any) -> AsyncIterator[DatasetSummary]:
        """Yield the datasets, filtered by name, label or space."""
        return self._transport.each("/v1/datasets", DatasetSummary, **filters)

    async def get(self, dataset_id: str) -> DatasetOut:
        """Return a dataset."""
        return await self._transport.get(f"/v1/datasets/{segment(dataset_id)}", DatasetOut)

    def images(self, dataset_id: str, **filters: Any) -> AsyncIterator[ImageOut]:
        """Yield the images of a dataset, filtered by label or split."""
        return self._transport.each(
            f"/v1/datasets/{segment(dataset_id)}/images", ImageOut, **filters
        )

    async def image(self, dataset_id: str, image_id: str, size: int | None = None) -> bytes:
        """Return the file of an image, or a thumbnail of this size in pixels."""
        params = {} if size is None else {"size": size}
        path = f"/v1/datasets/{segment(dataset_id)}/images/{segment(image_id)}"
        return (await self._transport.send("GET", path, params=params)).content

    async def add_images(
        self, dataset_id: str, source: Source, *, progress: Shown | None = None
    ) -> AddedImages:
        """Add the images of an archive or folder; those that the dataset has are counted only."""
        how = self._progress if progress is None else progress
        with opened(source) as read, shown(how, f"adding to {dataset_id}") as report:
            archive = await async_call(read)
            answer = await self._transport.create(
                f"/v1/datasets/{segment(dataset_id)}/images",
                AddedImages,
                content=archive.sha256,
                body=lambda: {"files": form_file(archive, report)},
                key=random_key(),  # images that were deleted since can be added again
                timeout=UPLOAD_SECONDS,
            )
        return answer.value

    async def correct_label(self, dataset_id: str, image_id: str, label: str) -> CorrectedImage:
        """Give one image another label, as if it had been uploaded with it."""
        path = f"/v1/datasets/{segment(dataset_id)}/images/{segment(image_id)}"
        answer = await self._transport.send("PATCH", path, body=lambda: {"json": {"label": label}})
        return parsed(answer, CorrectedImage)

    async def relabel(self, dataset_id: str, rename: Mapping[str, str]) -> RelabelledDataset:
        """Rename labels, all at once; labels that get the same name are merged."""
        path, body = f"/v1/datasets/{segment(dataset_id)}/labels", {"rename": dict(rename)}
        return await self._transport.post(path, RelabelledDataset, body)

    async def label_report(self, dataset_id: str, **asked: Any) -> LabelReportOut:
        """Return the images whose labels the components dispute, the most disputed first.

        Narrowed by composition, components (a list of ids), space, rule, label, `all` and limit.
        """
        if isinstance(ids := asked.get("components"), list | tuple):
            asked |= {"components": ",".join(ids)}
        path = f"/v1/datasets/{segment(dataset_id)}/label-report"
        return await self._transport.get(path, LabelReportOut, **asked)

    async def preview(self, dataset_id: str) -> DatasetPreviewOut:
        """Return what deleting a dataset, with the components trained from it, would change."""
        path = f"/v1/datasets/{segment(dataset_id)}/deletion-preview"
        return await self._transport.get(path, DatasetPreviewOut)

    async def preview_image(self, dataset_id: str, image_id: str) -> DatasetPreviewOut:
        """Return what deleting one image would change."""
        path = f"/v1/datasets/{segment(dataset_id)}/images/{segment(image_id)}/deletion-preview"
        return await self._transport.get(path, DatasetPreviewOut)

    async def unlearn(self, dataset_id: str, *, cascade: bool = False) -> ReceiptOut:
        """Delete a dataset, with `cascade` the components trained from it too."""
        return await self._transport.unlearn(f"/v1/datasets/{segment(dataset_id)}", cascade=cascade)

    async def unlearn_image(self, dataset_id: str, image_id: str) -> ReceiptOut:
        """Delete one image, and what the components of its dataset have learned from it."""
        path = f"/v1/datasets/{segment(dataset_id)}/images/{segment(image_id)}"
        return await self._transport.unlearn(path)
