"""Files of the page, found by their addresses below `/page/`, and the answers that carry them."""

import gzip
import hashlib
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response

from app.api.http import etags
from app.api.http.security_headers import PAGE, POLICY
from app.errors import NotFound

FOLDER = Path(__file__).resolve().parents[2] / "page"
PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")  # of an address: nothing that leaves the folder
MAX_ADDRESS = 200  # characters
MEDIA_TYPES = {
    ".css": "text/css",
    ".html": "text/html",
    ".ico": "image/vnd.microsoft.icon",
    ".js": "text/javascript",
    ".json": "application/json",
    ".map": "application/json",
    ".mjs": "text/javascript",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain",
    ".webmanifest": "application/manifest+json",
    ".webp": "image/webp",
    ".woff2": "font/woff2",
}
TEXTS = re.compile(r"text/.*|image/svg\+xml|application/(json|manifest\+json)")  # worth packing
MAX_PACKED = 256  # files that are kept packed; the page has about a hundred


@dataclass(frozen=True)
class PageFile:
    """Bytes of one kind."""

    content: bytes
    media_type: str

    @property
    def version(self) -> str:
        """The hash of the bytes, which is their ETag."""
        return hashlib.sha256(self.content).hexdigest()[:32]


def page_file(address: str, folder: Path = FOLDER) -> PageFile:
    """Return the file of the page at this address, `main.js` or `vendor/preact.js`.

    Raises:
        NotFound: `page_file_not_found`.
    """
    parts = address.split("/")
    if len(address) <= MAX_ADDRESS and all(map(PART.fullmatch, parts)):
        path = folder.joinpath(*parts)
        media_type = MEDIA_TYPES.get(path.suffix)
        if media_type is not None and path.is_file():
            return PageFile(path.read_bytes(), media_type)
    raise NotFound(
        "page_file_not_found",
        f"the page has no file {address!r}: GET / is the page itself, GET /docs lists the routes",
    )


def answer_with(request: Request, file: PageFile, policy: bytes | None = PAGE) -> Response:
    """Return the file, or 304 to a client that has it; it may be kept, but not used unasked.

    Texts are packed by gzip for a client that takes it; a packed file has an ETag of its own.
    """
    headers = {"Cache-Control": "no-cache", "Vary": "Accept-Encoding"}
    headers |= {} if policy is None else {POLICY.decode(): policy.decode()}
    content = file.content
    if TEXTS.fullmatch(file.media_type) and _takes_gzip(request.headers):
        content, headers["Content-Encoding"] = _packed(content), "gzip"
    version = PageFile(content, file.media_type).version
    headers["ETag"] = etags.quoted(version)
    if etags.names(request.headers.get("if-none-match"), version):
        headers.pop("Content-Encoding", None)
        return Response(status_code=304, headers=headers)
    return Response(content, media_type=file.media_type, headers=headers)


@lru_cache(MAX_PACKED)
def _packed(content: bytes) -> bytes:
    return gzip.compress(content, 9, mtime=0)


def _takes_gzip(headers: Headers) -> bool:
    """Return whether the client takes gzip: it names it, or anything, and not with weight 0."""
    weights: dict[str, str] = {}
    for part in ",".join(headers.getlist("accept-encoding")).lower().split(","):
        name, _, weight = part.replace(" ", "").partition(";q=")
        weights[name] = weight
    weight = weights.get("gzip", weights.get("*", "0"))
    return not re.fullmatch(r"0(\.0*)?", weight)
