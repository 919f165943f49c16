"""Datasets: labelled images, uploaded as one archive."""

from pathlib import PurePath
from typing import Annotated

from fastapi import (
    APIRouter,
    Depends,
    File,
    Form,
    Header,
    Path,
    Query,
    Request,
    Response,
    UploadFile,
)

from app import images
from app.api.http import etags
from app.api.http.deps import (
    BlobsDep,
    JobsDep,
    OnceDep,
    PageDep,
    PartsDep,
    ProbeQuery,
    ReadSessionDep,
    ReadSessionsDep,
    SessionDep,
    SettingsDep,
    TicketDep,
)
from app.api.http.spooling import SpoolingRoute
from app.api.http.upload_slots import turn
from app.errors import Unsupported
from app.evaluation.dataset_pass import damaged
from app.images import BadImage
from app.schemas.components import ComponentOut
from app.schemas.datasets import (
    DatasetOut,
    DatasetSummary,
    ImageOut,
    RelabelledDataset,
    Relabelling,
    UploadedDataset,
)
from app.schemas.pages import Listing
from app.schemas.problems import problems
from app.schemas.receipts import ReceiptOut
from app.schemas.texts import Text
from app.store import datasets, lineage, spaces
from app.store.blobs import BlobMissing
from app.store.db import transaction
from app.unlearning import change, change_plan
from app.unlearning.dataset_change import change_dataset, change_once
from app.unlearning.unlearn import unlearn
from tangent import Hyperparameters

DatasetId = Annotated[str, Path(max_length=64)]
ImageId = Annotated[str, Path(max_length=64)]
IMAGE_HEADERS = {
    "Cache-Control": "private, no-cache",  # a copy is shown only if the image is still there
    "X-Content-Type-Options": "nosniff",
}
router = APIRouter(prefix="/datasets", tags=["datasets"], route_class=SpoolingRoute)


def _multipart(request: Request) -> None:
    """Refuses any other body before its fields are missed.

    Raises:
        Unsupported: `unsupported_media_type`.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "multipart/form-data":
        raise Unsupported(
            "unsupported_media_type",
            f"a dataset cannot be read from {media_type or 'a body without Content-Type'}: send "
            "multipart/form-data with file=<archive>, as curl -F file=@images.zip does",
        )


@router.post(
    "",
    status_code=201,
    summary="Upload a dataset",
    dependencies=[Depends(_multipart), Depends(turn, scope="function")],
    responses=problems(400, 404, 410, 413, 415, 422, 503),
)
def upload(
    session: SessionDep,
    reading: ReadSessionsDep,
    blobs: BlobsDep,
    settings: SettingsDep,
    jobs: JobsDep,
    once: OnceDep,
    response: Response,
    file: Annotated[UploadFile, File(description="a zip, tar, tar.gz or tar.zst archive")],
    name: Annotated[
        Text | None, Form(min_length=1, max_length=255, description="else the file's name")
    ] = None,
    space: Annotated[
        Text, Form(max_length=64, description="of the component to train")
    ] = spaces.DEFAULT,
    train: Annotated[bool, Form(description="train a component from it at once")] = False,
) -> UploadedDataset:
    """Every image is decoded before the answer; files that are none are listed with the reason.

    The folder of an image is its label; a single folder around everything and folders named train,
    val or test are none. Or a CSV or JSONL file (`metadata.csv`) has `file_name` and `label`. Of
    files with the same bytes under the same label one is kept.
    """
    with transaction(reading) as before:  # a name that is wrong shows before the long work
        trained_in = spaces.get(before, space)
    with datasets.received(file.file, blobs, settings) as received:

        def create() -> str:
            title = name or _title(file.filename)
            dataset = datasets.add(session, blobs, received, name=title)
            if train:
                lineage.queue_training(
                    session,
                    jobs,
                    space=trained_in,
                    dataset=dataset,
                    name=None,
                    hyperparameters=Hyperparameters.resolve(trained_in.scope, {}).as_dict(),
                    seed=0,
                    tags={},
                )
            return dataset.id

        asked = {"name": name, "space": space, "train": train, "sha256": received.sha256}
        dataset = datasets.get(session, once.run(session, asked, create))
    component = datasets.first_component(session, dataset.id) if train else None
    response.headers["Location"] = f"/v1/datasets/{dataset.id}"
    shown = None if component is None else ComponentOut.of(component)
    return UploadedDataset.of(dataset, shown)


def _title(filename: str | None) -> str:
    """A dataset's name from its file's: `scans/berlin.tar.gz` is `berlin`."""
    stem = PurePath((filename or "").replace("\\", "/")).name.partition(".")[0]
    printable = "".join(character for character in stem if character.isprintable())
    return printable.strip()[:255] or "dataset"


@router.get("", summary="List datasets", responses=problems(422))
def list_(session: ReadSessionDep, page: PageDep) -> Listing[DatasetSummary]:
    """Oldest first, a page at a time, without the rejected files."""
    rows = datasets.list_(session, after=page.after, limit=page.limit + 1)
    return page.listing(rows, DatasetSummary.of)


@router.get("/{dataset_id}", summary="Show a dataset", responses=problems(404, 410))
def get(session: ReadSessionDep, dataset_id: DatasetId) -> DatasetOut:
    """The dataset, with the files that were rejected."""
    return DatasetOut.of(datasets.get(session, dataset_id))


@router.get(
    "/{dataset_id}/images", summary="List a dataset's images", responses=problems(404, 410, 422)
)
def list_images(
    session: ReadSessionDep,
    page: PageDep,
    dataset_id: DatasetId,
    label: Annotated[str | None, Query(max_length=255, description="of this label only")] = None,
) -> Listing[ImageOut]:
    """In the archive's order, a page at a time."""
    rows = datasets.images(session, dataset_id, label=label, after=page.after, limit=page.limit + 1)
    return page.listing(rows, ImageOut.of)


@router.get(
    "/{dataset_id}/images/{image_id}",
    summary="Download an image",
    response_class=Response,
    responses={
        200: {"content": {"image/*": {}}, "description": "The file, or a thumbnail as PNG or JPEG"},
        304: {"description": "The image is the one that If-None-Match names"},
        **problems(404, 410, 422),
    },
)
def get_image(
    reading: ReadSessionsDep,
    blobs: BlobsDep,
    settings: SettingsDep,
    ticket: TicketDep,
    dataset_id: DatasetId,
    image_id: ImageId,
    size: Annotated[
        int | None, Query(ge=8, le=2048, description="fit into a square of so many pixels")
    ] = None,
    if_none_match: Annotated[str | None, Header()] = None,
) -> Response:
    """The file's bytes as they were in the archive; with `size`, upright and never enlarged."""
    ticket.enter()  # a deletion waits for this answer
    with transaction(reading) as session:
        dataset, image = datasets.image(session, dataset_id, image_id)
    version = f"{image.sha256}-{size}" if size else image.sha256
    headers = IMAGE_HEADERS | {"ETag": etags.quoted(version)}
    if etags.names(if_none_match, version):
        return Response(status_code=304, headers=headers)
    try:
        data, media_type = datasets.read(blobs, dataset, image), image.media_type
    except BlobMissing as missing:
        with transaction(reading) as session:  # deleted by another process just now?
            datasets.image(session, dataset_id, image_id)
        raise damaged(missing) from None
    if size is not None:
        try:
            data, media_type = images.thumbnail(data, settings, size)
        except BadImage as bad:  # stored under other limits
            raise datasets.unreadable(image.path, bad.reason) from bad
    return Response(data, media_type=media_type, headers=headers)


@router.delete(
    "/{dataset_id}/images/{image_id}",
    summary="Unlearn an image",
    responses=problems(404, 409, 410, 503),
)
def delete_image(
    parts: PartsDep, dataset_id: DatasetId, image_id: ImageId, probe: ProbeQuery = False
) -> ReceiptOut:
    """Deletes one image, and unlearns it in every component trained from its dataset.

    The receipt's `components` tell how. `down_dated`: where the sums that a training solves from
    are exact (scopes head and head2toe, solver cholesky, alpha 1), the image's own part was taken
    away and the component has the file, at once, that a training without the image gives, to the
    last byte. `retraining`: its file is gone, and nothing of it answers; it is trained anew without
    the image, and `retraining` in its status, events and in predictions until then. `queued`: its
    training has not begun. What was measured with the image is dropped: metrics, events,
    evaluations, solved weights. The last image of a dataset goes with its dataset only.
    """
    receipt = change_dataset(
        parts, lambda session: change_plan.removal(session, dataset_id, image_id), probe=probe
    )
    return ReceiptOut.of(receipt)


@router.post(
    "/{dataset_id}/labels",
    summary="Rename or merge labels",
    responses=problems(404, 410, 422, 503),
)
def relabel(
    parts: PartsDep,
    once: OnceDep,
    dataset_id: DatasetId,
    body: Relabelling,
    probe: ProbeQuery = False,
) -> RelabelledDataset:
    """Gives labels other names, all at once; two that get one name are merged.

    Afterwards dataset and components are as if uploaded with these labels from the start. A label
    is its name, so components get other bytes: at scopes head and head2toe, solver cholesky, alpha
    1, the sums of merged labels are added and the head's rows are solved for anew from the base
    rows of the new names, at once and to the last byte as a training gives them; all others are
    dropped and trained anew. Of images that become equal, with the same bytes and label, the first
    stays. The receipt says what became of each component, and what fitted to the old ones is gone.
    """
    receipt = change_once(
        parts,
        lambda session: change_plan.relabelling(session, dataset_id, body.rename),
        once,
        [body, probe],
        probe=probe,
    )
    with transaction(parts.reading) as session:
        return RelabelledDataset.of(datasets.get(session, dataset_id), ReceiptOut.of(receipt))


@router.delete("/{dataset_id}", summary="Delete a dataset", responses=problems(404, 409, 410, 503))
def delete(
    parts: PartsDep,
    dataset_id: DatasetId,
    cascade: Annotated[
        bool, Query(description="also delete the components trained from it")
    ] = False,
    probe: ProbeQuery = False,
) -> ReceiptOut:
    """Deletes its images; components trained from it must go first, or with it."""
    receipt = unlearn(
        parts,
        lambda session: change.of_dataset(session, dataset_id, cascade=cascade),
        probe=probe,
    )
    return ReceiptOut.of(receipt)
