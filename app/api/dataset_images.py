"""The images of a dataset: shown, added, corrected and unlearned."""

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Depends, File, Form, Header, Path, Query, Response, UploadFile

from app.api.datasets import DatasetId, multipart
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
from app.api.http.upload_slots import ExaminationDep, UploadRoute
from app.archives.entries import CodePage
from app.datasets import datasets
from app.operations.downloads import image_file
from app.unlearning import change_plan
from app.unlearning.dataset_change import change_dataset, correct_image, delete_images
from app.unlearning.dataset_preview import preview_image_deletion
from app.unlearning.image_upload import upload_images
from tangent_composer.schemas.dataset_images import (
    AddedImages,
    CorrectedImage,
    ImageDeletion,
    LabelCorrection,
)
from tangent_composer.schemas.datasets import ImageOut
from tangent_composer.schemas.names import SplitQuery
from tangent_composer.schemas.pages import Listing
from tangent_composer.schemas.previews import DatasetPreviewOut
from tangent_composer.schemas.problems import problems
from tangent_composer.schemas.receipts import ReceiptOut

ImageId = Annotated[str, Path(max_length=64)]
IMAGE_HEADERS = {
    "Cache-Control": "private, no-cache",  # a copy is shown only if the image is still there
    "X-Content-Type-Options": "nosniff",
}
router = APIRouter(prefix="/datasets", tags=["datasets"], route_class=SpoolingRoute)
uploads = APIRouter(prefix="/datasets", tags=["datasets"], route_class=UploadRoute)


@uploads.post(
    "/{dataset_id}/images",
    summary="Add images to a dataset",
    form_limits=OF_ONE_FILE,
    dependencies=[Depends(multipart)],
    responses=problems(400, 404, 409, 410, 413, 415, 422, 503),
)
def add_images(
    parts: PartsDep,
    once: OnceDep,
    dataset_id: DatasetId,
    response: Response,
    examination: ExaminationDep,
    file: Annotated[UploadFile, File(description="a zip, tar, tar.gz or tar.zst archive")],
    code_page: Annotated[
        CodePage | None, Form(description="of file names that are not marked as UTF-8")
    ] = None,
    probe: ProbeQuery = False,
) -> AddedImages:
    """Adds an archive's images, as if they had been in the dataset's own archive from the start.

    They are read and checked as an upload's. An image that the dataset has under the same label is
    a copy, and counted; if there is none but copies, nothing is changed. The components trained
    from the dataset have the outcomes that the deletion of an image has, and the receipt tells
    them: `updated`, at once and to the last byte, or `retraining`. What was measured without the
    new images is dropped.
    """
    archive = examination.file(file.file)
    shown, missing = upload_images(parts, dataset_id, archive, code_page, once, probe=probe)
    unconfirmed.note(response, missing)
    return shown


@router.get(
    "/{dataset_id}/images", summary="List a dataset's images", responses=problems(404, 410, 422)
)
def list_images(
    session: ReadSessionDep,
    page: PageDep,
    dataset_id: DatasetId,
    label: Annotated[str | None, Query(max_length=255, description="of this label only")] = None,
    split: Annotated[
        SplitQuery | None, Query(description="of this split only; none: of images without one")
    ] = None,
) -> Listing[ImageOut]:
    """Lists images in the archive's order, a page at a time."""
    rows = datasets.images(
        session, dataset_id, label=label, split=split, after=page.after_id, limit=page.limit + 1
    )
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


@router.get(
    "/{dataset_id}/images/{image_id}/deletion-preview",
    summary="Preview an image's deletion",
    responses=problems(404, 409, 410),
)
def preview_image(parts: PartsDep, dataset_id: DatasetId, image_id: ImageId) -> DatasetPreviewOut:
    """Shows what the image's deletion would do to the components; nothing is changed.

    Refuses what the deletion would refuse. A component that is to be `down_dated` is trained again
    instead if its file or the image turns out to be damaged.
    """
    return preview_image_deletion(parts, dataset_id, image_id)


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
    its training has not begun. `unaffected`: the image is of val or test, which no component is
    trained on. `updated`: the image alone held back images for training with its bytes, and their
    share was added, to the byte as a training with them gives. Results measured with the image are
    dropped: metrics, events, evaluations, solved weights. A dataset's last image can only be
    deleted with the dataset.
    """
    plan = partial(change_plan.removal, dataset_id=dataset_id, image_id=image_id)
    done = await threads.change(partial(change_dataset, parts, plan, probe=probe))
    unconfirmed.note(response, done.unconfirmed)
    return ReceiptOut.of(done.receipt)


@router.patch(
    "/{dataset_id}/images/{image_id}",
    summary="Give an image another label",
    responses=problems(404, 410, 413, 422, 503),
)
async def correct_label(
    parts: PartsDep,
    threads: ThreadsDep,
    dataset_id: DatasetId,
    image_id: ImageId,
    body: LabelCorrection,
    response: Response,
    probe: ProbeQuery = False,
) -> CorrectedImage:
    """Corrects one image's label, as if the image had been uploaded with it.

    The components trained from the dataset have the outcomes that the deletion of an image has, and
    the receipt tells them: `relabelled`, at once and to the last byte, or `retraining`. What was
    measured with the old label is dropped. If the dataset has the same bytes under the new label
    already, the first of the two stays and is answered. Nothing is done, and there is no receipt,
    if the image has this label.
    """
    made = partial(correct_image, parts, dataset_id, image_id, body, probe=probe)
    corrected, missing = await threads.change(made)
    unconfirmed.note(response, missing)
    return corrected


@router.post(
    "/{dataset_id}/images/delete",
    summary="Unlearn several images",
    responses=problems(404, 409, 410, 422, 503),
)
async def delete_several(
    parts: PartsDep,
    threads: ThreadsDep,
    dataset_id: DatasetId,
    body: ImageDeletion,
    once: OnceDep,
    response: Response,
    probe: ProbeQuery = False,
) -> ReceiptOut:
    """Deletes these images together, with one receipt: as the deletion of one, all or none.

    Whoever has a component's file from before and one from after learns the sum of their features,
    and not those of a single image.
    """
    done = await threads.change(partial(delete_images, parts, dataset_id, body, once, probe=probe))
    unconfirmed.note(response, done.unconfirmed)
    return ReceiptOut.of(done.receipt)
