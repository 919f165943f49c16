"""Images of all datasets: where one is held."""

from typing import Annotated

from fastapi import APIRouter, Query, UploadFile

from app.api.http.deps import PageDep, PartsDep, ReadSessionDep, TicketDep
from app.api.http.spooling import OF_ONE_FILE, SpoolingRoute
from app.datasets import datasets
from app.images.perceptual_hash import BITS
from app.operations.image_search import held, search_images
from tangent_composer.schemas.images import HeldImage, ImageSearchOut
from tangent_composer.schemas.pages import Listing
from tangent_composer.schemas.problems import problems

NEAR = 16  # different bits of images that look alike, at most

router = APIRouter(prefix="/images", tags=["images"], route_class=SpoolingRoute)


@router.get("", summary="Find an image by its hash", responses=problems(422))
def list_(
    session: ReadSessionDep,
    page: PageDep,
    sha256: Annotated[
        str,
        Query(
            pattern="^[0-9a-fA-F]{64}$",
            description="of the file, in 64 hexadecimal digits, as sha256sum prints it",
        ),
    ],
) -> Listing[HeldImage]:
    """Lists the images of all datasets with these bytes, a page at a time; empty if none has."""
    rows = datasets.same_bytes(session, sha256.lower(), after=page.after_id, limit=page.limit + 1)
    found = held(session, rows)
    return page.listing(rows, lambda row: found[row.id])


@router.post(
    "/search",
    summary="Find an image",
    form_limits=OF_ONE_FILE,
    responses=problems(400, 413, 415, 422, 503),
)
def search(
    image: UploadFile,
    parts: PartsDep,
    ticket: TicketDep,
    distance: Annotated[
        int, Query(ge=0, le=BITS // 3, description=f"bits of {BITS} that may differ")
    ] = NEAR,
) -> ImageSearchOut:
    """Finds the image that is sent in all datasets: the same bytes, and images that look like it.

    Near are the same picture in another format, size, quality or brightness, and little cut. Other
    crops, mirrored or turned pictures are not found. Nothing that is sent is kept.
    """
    return search_images(parts, ticket, image.file.read(), distance)
