"""The page at `/`: its files, its icon, and sample data to try the service with.

None of it is of a user, so none of it needs a key, and none of it is in the OpenAPI document.
"""

from functools import cache

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, RedirectResponse

from app.api.http.page_files import PageFile, answer_with, page_file
from app.api.http.root_path import is_bare_prefix
from app.errors import NotFound
from tangent_composer.samples import digits

router = APIRouter(include_in_schema=False)


@router.get("/")
def index(request: Request) -> Response:
    """Shows the page; as its addresses are relative, a prefix needs the slash at its end."""
    if is_bare_prefix(request.scope):
        return RedirectResponse("/", 308)
    return answer_with(request, page_file("index.html"))


@router.get("/favicon.ico")
def icon(request: Request) -> Response:
    """Shows the icon that browsers ask for, whatever page they show."""
    return answer_with(request, page_file("favicon.ico"))


@router.get("/page/samples")
def samples() -> Response:
    """Lists the archives of sample data, as `tangent sample digits` writes them."""
    listed = [
        {
            "name": each.name,
            "file": each.file,
            "num_images": each.num_images,
            "labels": list(each.labels),
            "held_out": each.held_out,
        }
        for each in _archives().values()
    ]
    return JSONResponse(listed, headers={"Cache-Control": "no-cache"})


@router.get("/page/samples/{file}")
def sample(request: Request, file: str) -> Response:
    """Shows an archive of sample data."""
    found = _archives().get(file)
    if found is None:
        raise NotFound(
            "sample_not_found", f"no sample data {file!r}: GET /page/samples lists the archives"
        )
    return answer_with(request, PageFile(found.content, "application/zip"))


@router.get("/page/{address:path}")
def file(request: Request, address: str) -> Response:
    """Shows a file of the page."""
    return answer_with(request, page_file(address))


@cache
def _archives() -> dict[str, digits.Archive]:
    return {each.file: each for each in digits.archives()}
