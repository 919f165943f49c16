"""The files of a multipart body, spooled into the data folder's scratch.

    router = APIRouter(prefix="/datasets", route_class=SpoolingRoute)       FastAPI reads the form
    async with SpoolingRequest(request.scope, request.receive).form() …     the caller reads it

Starlette spools files over 1 MB into the system's temporary folder. That folder is often small and
in memory, the operator has not assigned it to the service, and the clean-up does not know it.
"""

from collections.abc import Callable, Coroutine, Iterator
from contextlib import aclosing
from email.message import Message
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import Any

from fastapi import Request, Response
from fastapi.dependencies.models import Dependant
from python_multipart.multipart import parse_options_header
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser, MultipartPart

from app.api.http import charsets
from app.api.http.json_bodies import JsonRequest
from app.api.http.scopes import ScopedRoute
from app.archives.uploads import report_full_disk
from app.datasets.datasets import SCRATCH
from app.errors import Invalid, Malformed, Problem

# The texts of a form and its files of up to a megabyte are held in memory, and an upload has no
# other limit than that of its archive.
OF_ONE_FILE: Any = {"max_fields": 100, "max_files": 8, "max_part_size": 2**16}
ENCODINGS = (b"content-transfer-encoding", b"content-encoding")  # of a part
PLAIN = (b"", b"binary", b"7bit", b"8bit", b"identity")


class _Parser(MultiPartParser):
    """Starlette's parser, with another folder for the files, and texts that are not guessed."""

    def __init__(self, *given: Any, folder: Path, **limits: Any) -> None:
        super().__init__(*given, **limits)
        self.folder, self._ended = folder, False

    def on_headers_finished(self) -> None:
        part = self._current_part
        part.content_disposition = _with_filename(part.content_disposition or b"")
        super().on_headers_finished()
        if part.file is not None:
            # On Linux the file never has a name, so that a killed process leaves nothing behind;
            # elsewhere it has one for a moment, which app.unlearning.cleanup knows by its prefix.
            limit, folder = self.spool_max_size, str(self.folder)
            file = SpooledTemporaryFile(limit, dir=folder, prefix=f"{SCRATCH}-")  # noqa: SIM115
            self._files_to_close_on_error[-1].close()
            self._files_to_close_on_error[-1] = file
            part.file.file = file  # type: ignore[assignment]
        for name, value in part.item_headers:
            if name in ENCODINGS and value.strip().lower() not in PLAIN:
                raise MultiPartException(
                    f"the part {part.field_name[:80]!r} came with {name.decode('latin-1').title()}"
                    f" {value.decode('latin-1')[:80]}: send its bytes as they are"
                )

    def on_part_end(self) -> None:
        part = self._current_part
        if part.file is not None:
            super().on_part_end()
        else:  # Starlette takes what it cannot decode for Latin-1
            self.items.append((part.field_name, self._text(part)))

    def _text(self, part: MultipartPart) -> str:
        types: list[str | bytes] = [
            *(value for name, value in part.item_headers if name == b"content-type"),
            self.headers["Content-Type"],
        ]
        charset = next(filter(None, map(charsets.named_in, types)), "utf-8")
        try:
            return part.data.decode(charsets.codec_of(charset) or "")
        except (LookupError, ValueError):
            raise MultiPartException(
                f"the field {part.field_name[:80]!r} is not in {charset[:80]}: send it in UTF-8"
            ) from None

    def on_end(self) -> None:
        self._ended = True

    async def parse(self) -> FormData:
        """Return the form; refuse one that was cut off, as its last part is missing."""
        charset = charsets.named_in(self.headers["Content-Type"])
        if charset and charsets.codec_of(charset) is None:  # names of fields would be read in it
            raise MultiPartException(f"it is in {charset[:80]}, which is not read: send UTF-8")
        form = await super().parse()
        if not self._ended:
            for file in self._files_to_close_on_error:  # also that of the part without an end
                file.close()
            raise MultiPartException(
                f"it ends before its last boundary, --{self._boundary()}--: it was cut off, or its "
                "Content-Type names another boundary"
            )
        return form

    def told(self, error: MultiPartException) -> str:
        """Return the fault of the form in this project's words."""
        cause = str(error.__cause__ or "")
        if "Missing boundary" in error.message or "Boundary length" in cause:
            return (
                "the form's Content-Type names no boundary between its parts: let the client "
                "library set that header, with the boundary that it chose"
            )
        if error.message.startswith("Part exceeded"):
            return (
                f"the field {self._current_part.field_name[:80]!r} of the form is a text of more "
                f"than {self.max_part_size} bytes, as its part has no filename: a file is sent "
                "with one, as curl -F file=@images.zip does"
            )
        return f"the form cannot be read: {self._fault(error.message, cause)}"

    def _fault(self, message: str, cause: str) -> str:
        if "boundary" in cause:
            return (
                "it does not begin with the boundary that its Content-Type names "
                f"({self._boundary()}), in lines that end in CR LF"
            )
        if cause.startswith("Maximum header"):
            return "a part has more headers, or longer ones, than 8 of 4224 bytes"
        if '"name" must be provided' in message:
            return 'a part has no name: write Content-Disposition: form-data; name="…"'
        return f"a part's headers are malformed ({cause})" if cause else message

    def _boundary(self) -> str:
        options = parse_options_header(self.headers["Content-Type"])[1]
        return options.get(b"boundary", b"").decode("latin-1")[:100]


def _with_filename(disposition: bytes) -> bytes:
    """Return a Content-Disposition with a plain filename, if it has only a `filename*`.

    Forms should not have it (RFC 7578), and clients in Java, .NET and older ones in Python do.
    """
    if b"filename*" not in disposition.lower():
        return disposition
    if b"filename" in parse_options_header(disposition)[1]:
        return disposition
    header = Message()
    header["Content-Disposition"] = disposition.decode("latin-1")
    name = (header.get_filename() or "").replace("\\", "/").replace('"', "'")
    return disposition + b'; filename="' + name.encode(errors="replace") + b'"'


class SpoolingRequest(JsonRequest):
    """A request that spools its form into the scratch folder."""

    async def _get_form(self, **limits: Any) -> FormData:
        if self._form is None and _is_form(self):
            folder = self.app.state.parts.blobs.scratch
            stream = self.stream()
            parser = _Parser(self.headers, stream, folder=folder, **limits)
            try:
                async with aclosing(stream):
                    self._form = await parser.parse()
            except OSError:
                with report_full_disk("this upload"):
                    raise
            except MultiPartException as error:
                raise HTTPException(400, parser.told(error)) from error
            except UnicodeError as error:
                raise HTTPException(400, f"the form cannot be read: {error}") from error
        return await super()._get_form(**limits)


def _is_form(request: Request) -> bool:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return kind == "multipart/form-data"


class SingleFields(SpoolingRequest):
    """A request whose form has only known fields, each once.

    Of two files, nobody can know which is meant; an unknown field is a known one, misspelt.
    """

    known: tuple[str, ...] = ()  # the route's fields

    async def _get_form(self, **limits: Any) -> FormData:
        form = await super()._get_form(**limits)
        if not _is_form(self):
            return form  # told by its media type
        if (fault := self._fault([name for name, _ in form.multi_items()])) is not None:
            await form.close()
            raise fault
        return form

    def _fault(self, names: list[str]) -> Problem | None:
        if twice := sorted({name for name in names if names.count(name) > 1}):
            return Malformed(
                "field_repeated",
                f"the form has the field {twice[0][:80]!r} more than once: send it once, and every "
                "file in a request of its own",
            )
        if unknown := sorted(set(names) - set(self.known)):
            name, why = unknown[0][:80], f"the route has no such field: {', '.join(self.known)}"
            return _misplaced(f"/{name}", why)
        if misplaced := sorted(set(self.query_params) & set(self.known)):
            return _misplaced(f"#query/{misplaced[0]}", "send it as a field of the form")
        return None


def _misplaced(pointer: str, why: str) -> Invalid:
    return Invalid(
        "invalid_request",
        f"the request does not fit this route's schema: {pointer}: {why}",
        errors=[{"pointer": pointer, "detail": why}],
    )


def _fields_of(dependant: Dependant) -> Iterator[str]:
    """Yield the names of the form's fields, also those that a dependency reads."""
    for field in dependant.body_params:
        yield field.alias
    for each in dependant.dependencies:
        yield from _fields_of(each)


class SpoolingRoute(ScopedRoute):
    """A route whose multipart files go to the scratch folder; a form has known fields, once."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        if self.body_field is None:  # FastAPI reads no form here
            return handle
        known = tuple(_fields_of(self.dependant))

        async def spooling(request: Request) -> Response:
            single = SingleFields(request.scope, request.receive)
            single.known = known
            try:
                return await handle(single)
            except HTTPException as error:
                # FastAPI blames the client for every error in a form; the disk's are not its fault.
                if isinstance(error.__cause__, Problem | OSError):
                    raise error.__cause__ from None
                raise

        return spooling
