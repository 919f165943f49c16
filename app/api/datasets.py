"""Datasets: labelled images, uploaded as one archive."""

from functools import partial
from typing import Annotated

from fastapi import (
    APIRouter,
    Depends,
    File,
    Form,
    Path,
    Query,
    Request,
    Response,
    UploadFile,
)

from app.api.http import unconfirmed
from app.api.http.deps import (
    OnceDep,
    PageDep,
    PartsDep,
    ProbeQuery,
    ReadSessionDep,
    SessionDep,
    ThreadsDep,
)
from app.api.http.list_queries import (
    BY_METADATA,
    AgeOrName,
    Filter,
    LabelFilter,
    MetadataDep,
    NameFilter,
)
from app.api.http.spooling import OF_ONE_FILE, SpoolingRoute
from app.api.http.upload_forms import UploadFieldsDep
from app.api.http.upload_slots import ExaminationDep, UploadRoute
from app.archives.entries import CodePage
from app.database.tables import Dataset
from app.datasets import datasets
from app.errors import Unsupported
from app.operations.dataset_upload import Archive, upload_dataset
from app.store import descriptions, lists, spaces
from app.unlearning import change
from app.unlearning.dataset_change import relabel_dataset
from app.unlearning.dataset_preview import preview_dataset_deletion
from app.unlearning.unlearn import unlearn
from tangent_composer.schemas.datasets import (
    DatasetChange,
    DatasetOut,
    DatasetSummary,
    RelabelledDataset,
    Relabelling,
    UploadedDataset,
)
from tangent_composer.schemas.names import DatasetName
from tangent_composer.schemas.pages import Listing
from tangent_composer.schemas.previews import DatasetPreviewOut
from tangent_composer.schemas.problems import problems
from tangent_composer.schemas.receipts import ReceiptOut
from tangent_composer.schemas.texts import Text

DatasetId = Annotated[str, Path(max_length=64)]
router = APIRouter(prefix="/datasets", tags=["datasets"], route_class=SpoolingRoute)
uploads = APIRouter(prefix="/datasets", tags=["datasets"], route_class=UploadRoute)


def multipart(request: Request) -> None:
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
    dependencies=[Depends(multipart)],
    responses=problems(400, 404, 410, 413, 415, 422, 503),
)
def upload(
    parts: PartsDep,
    once: OnceDep,
    response: Response,
    examination: ExaminationDep,
    file: Annotated[UploadFile, File(description="a zip, tar, tar.gz or tar.zst archive")],
    fields: UploadFieldsDep,
    name: Annotated[DatasetName | None, Form(description="else the file's name")] = None,
    space: Annotated[
        Text, Form(max_length=64, description="of the component to train")
    ] = spaces.DEFAULT,
    code_page: Annotated[
        CodePage | None, Form(description="of file names that are not marked as UTF-8")
    ] = None,
) -> UploadedDataset:
    """Decodes every image before the answer; other files are listed with the reason.

    The folder of an image is its label; a single folder around everything and folders named train,
    val or test are not labels, and images in them alone have none. Alternatively a CSV or JSONL
    file (`metadata.csv`) has `file_name` and `label`, and may have `split` and `group`. Components
    are trained on images of train and without a split, never on those of val and test. Of files
    with the same bytes and label one is kept. `files` counts every file of the archive once. The
    settings of a training are checked before the archive is read.
    """
    archive = Archive(examination.file(file.file), file.filename, name, space, *fields, code_page)
    shown = upload_dataset(parts, archive, once)
    response.headers["Location"] = f"/v1/datasets/{shown.id}"
    return shown


@router.get("", summary="List datasets", openapi_extra=BY_METADATA, responses=problems(422))
def list_(
    session: ReadSessionDep,
    page: PageDep,
    metadata: MetadataDep,
    name: NameFilter = None,
    label: LabelFilter = None,
    space: Filter = None,
    order: AgeOrName = "created_at",
) -> Listing[DatasetSummary]:
    """Lists datasets a page at a time, without the rejected files."""
    same = {"name": name, "label": label, "space": space}
    rows = lists.datasets(session, page.asked(order), **same, metadata=metadata)
    return page.listing(rows, DatasetSummary.of, cursor=partial(lists.cursor, Dataset, order))


@router.get("/{dataset_id}", summary="Show a dataset", responses=problems(404, 410))
def get(session: ReadSessionDep, dataset_id: DatasetId) -> DatasetOut:
    """Shows the dataset with the files that were rejected."""
    return DatasetOut.of(datasets.get(session, dataset_id))


@router.patch("/{dataset_id}", summary="Describe a dataset", responses=problems(404, 410, 422))
def patch(session: SessionDep, dataset_id: DatasetId, body: DatasetChange) -> DatasetOut:
    """Changes its name and its metadata, by a JSON merge patch; its images stay as they are."""
    given = body.model_dump(exclude_unset=True)
    return DatasetOut.of(descriptions.describe_dataset(session, dataset_id, given))


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


@router.get(
    "/{dataset_id}/deletion-preview",
    summary="Preview a dataset's deletion",
    responses=problems(404, 410),
)
def preview(parts: PartsDep, dataset_id: DatasetId) -> DatasetPreviewOut:
    """Shows what `DELETE` with `cascade=true` would take along; nothing is changed."""
    return preview_dataset_deletion(parts, dataset_id)


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
