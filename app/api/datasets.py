"""Datasets: labelled images, uploaded as one archive."""

from functools import partial
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

from app.api.http import etags, unconfirmed
from app.api.http.deps import (
    OnceDep,
    PageDep,
    PartsDep,
    ProbeQuery,
    ReadSessionDep,
    ThreadsDep,
    TicketDep,
)
from app.api.http.spooling import OF_ONE_FILE, SpoolingRoute
from app.api.http.upload_slots import UploadRoute, upload_slot
from app.archives.entries import CodePage
from app.errors import Unsupported
from app.operations.dataset_upload import Archive, upload_dataset
from app.operations.downloads import image_file
from app.schemas.datasets import (
    DatasetOut,
    DatasetSummary,
    ImageOut,
    RelabelledDataset,
    Relabelling,
    UploadedDataset,
)
from app.schemas.names import DatasetName
from app.schemas.pages import Listing
from app.schemas.problems import problems
from app.schemas.receipts import ReceiptOut
from app.schemas.texts import Text
from app.store import datasets, spaces
from app.unlearning import change, change_plan
from app.unlearning.dataset_change import change_dataset, relabel_dataset
from app.unlearning.unlearn import unlearn

DatasetId = Annotated[str, Path(max_length=64)]
ImageId = Annotated[str, Path(max_length=64)]
IMAGE_HEADERS = {
    "Cache-Control": "private, no-cache",  # a copy is shown only if the image is still there
    "X-Content-Type-Options": "nosniff",
}
router = APIRouter(prefix="/datasets", tags=["datasets"], route_class=SpoolingRoute)
uploads = APIRouter(prefix="/datasets", tags=["datasets"], route_class=UploadRoute)


def _multipart(request: Request) -> None:
    """Refuse any other media type before missing fields are reported.

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


@uploads.post(
    "",
    status_code=201,
    summary="Upload a dataset",
    form_limits=OF_ONE_FILE,
    dependencies=[Depends(_multipart), Depends(upload_slot, scope="function")],
    responses=problems(400, 404, 410, 413, 415, 422, 503),
)
def upload(
    parts: PartsDep,
    once: OnceDep,
    response: Response,
    file: Annotated[UploadFile, File(description="a zip, tar, tar.gz or tar.zst archive")],
    name: Annotated[DatasetName | None, Form(description="else the file's name")] = None,
    space: Annotated[
        Text, Form(max_length=64, description="of the component to train")
    ] = spaces.DEFAULT,
    train: Annotated[bool, Form(description="train a component from it at once")] = False,
    code_page: Annotated[
        CodePage | None, Form(description="of file names that are not in UTF-8")
    ] = None,
) -> UploadedDataset:
    """Decodes every image before the answer; other files are listed with the reason.

    The folder of an image is its label; a single folder around everything and folders named train,
    val or test are not labels, and images in them alone have none. Alternatively a CSV or JSONL
    file (`metadata.csv`) has `file_name` and `label`. Of files with the same bytes and label one is
    kept. `files` counts every file of the archive once.
    """
    archive = Archive(file.file, file.filename, name, space, train, code_page)
    shown = upload_dataset(parts, archive, once)
    response.headers["Location"] = f"/v1/datasets/{shown.id}"
    return shown


@router.get("", summary="List datasets", responses=problems(422))
def list_(session: ReadSessionDep, page: PageDep) -> Listing[DatasetSummary]:
    """Lists datasets by age, a page at a time, without the rejected files."""
    rows = datasets.list_(session, after=page.after, limit=page.limit + 1)
    return page.listing(rows, DatasetSummary.of)


@router.get("/{dataset_id}", summary="Show a dataset", responses=problems(404, 410))
def get(session: ReadSessionDep, dataset_id: DatasetId) -> DatasetOut:
    """Shows the dataset with the files that were rejected."""
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
    """Lists images in the archive's order, a page at a time."""
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
    parts: PartsDep,
    ticket: TicketDep,
    dataset_id: DatasetId,
    image_id: ImageId,
    size: Annotated[
        int | None, Query(ge=8, le=2048, description="fit into a square of so many pixels")
    ] = None,
    if_none_match: Annotated[str | None, Header()] = None,
) -> Response:
    """Sends the file's bytes as uploaded; with `size`, a thumbnail, upright and never enlarged."""
    image = image_file(
        parts, ticket, dataset_id, image_id, size, partial(etags.names, if_none_match)
    )
    headers = IMAGE_HEADERS | {"ETag": etags.quoted(image.version)}
    if image.data is None:
        return Response(status_code=304, headers=headers)
    return Response(image.data, media_type=image.media_type, headers=headers)


@router.delete(
    "/{dataset_id}/images/{image_id}",
    summary="Unlearn an image",
    responses=problems(404, 409, 410, 503),
)
async def delete_image(
    parts: PartsDep,
    threads: ThreadsDep,
    dataset_id: DatasetId,
    image_id: ImageId,
    response: Response,
    probe: ProbeQuery = False,
) -> ReceiptOut:
    """Deletes one image, and unlearns it in every component trained from its dataset.

    The receipt's `components` has the outcome for each. `down_dated`: where the sums of a training
    are exact (scopes head and head2toe, solver cholesky, alpha 1), the image's share was
    subtracted; the component has at once the file that a training without the image gives, to the
    last byte. `retraining`: its file is gone, and it takes no part in answers until it is trained
    again without the image; status, events and predictions say `retraining` meanwhile. `queued`:
    its training has not begun. Results measured with the image are dropped: metrics, events,
    evaluations, solved weights. A dataset's last image can only be deleted with the dataset.
    """
    plan = partial(change_plan.removal, dataset_id=dataset_id, image_id=image_id)
    done = await threads.change(partial(change_dataset, parts, plan, probe=probe))
    unconfirmed.note(response, done.unconfirmed)
    return ReceiptOut.of(done.receipt)


@router.post(
    "/{dataset_id}/labels",
    summary="Rename or merge labels",
    responses=problems(404, 410, 422, 503),
)
async def relabel(
    parts: PartsDep,
    threads: ThreadsDep,
    once: OnceDep,
    dataset_id: DatasetId,
    body: Relabelling,
    response: Response,
    probe: ProbeQuery = False,
) -> RelabelledDataset:
    """Renames labels, all at once; labels that get the same name are merged.

    Afterwards dataset and components are as if uploaded with the new labels from the start. A label
    is its name, so components get other bytes. At scopes head and head2toe, solver cholesky, alpha
    1, the sums of merged labels are added and the head's rows are solved again from the base rows
    of the new names, at once and to the last byte as a training gives them. All other components
    are dropped and trained again. Of images with the same bytes and label the first stays. The
    receipt has the outcome for each component; results that fitted the old labels are dropped.
    """
    made = partial(relabel_dataset, parts, dataset_id, body, once, probe=probe)
    relabelled, missing = await threads.change(made)
    unconfirmed.note(response, missing)
    return relabelled


@router.delete("/{dataset_id}", summary="Delete a dataset", responses=problems(404, 409, 410, 503))
async def delete(
    parts: PartsDep,
    threads: ThreadsDep,
    dataset_id: DatasetId,
    response: Response,
    cascade: Annotated[
        bool, Query(description="also delete the components trained from it")
    ] = False,
    probe: ProbeQuery = False,
) -> ReceiptOut:
    """Deletes the dataset and its images; components trained from it must go first, or with it."""
    of_dataset = partial(change.of_dataset, dataset_id=dataset_id, cascade=cascade)
    done = await threads.change(partial(unlearn, parts, of_dataset, probe=probe))
    unconfirmed.note(response, done.unconfirmed)
    return ReceiptOut.of(done.receipt)
