"""The files of a multipart body, spooled into the data folder's scratch.

    router = APIRouter(prefix="/datasets", route_class=SpoolingRoute)       FastAPI reads the form
    async with SpoolingRequest(request.scope, request.receive).form() …     the caller reads it

Starlette spools files over 1 MB into the system's temporary folder. That folder is often small and
in memory, the operator has not assigned it to the service, and the clean-up does not know it.
"""

from collections.abc import Callable, Coroutine
from contextlib import aclosing
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import Any

from fastapi import Request, Response
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser

from app.api.http.scopes import ScopedRoute
from app.archives.uploads import report_full_disk
from app.errors import Malformed, Problem
from app.store.datasets import SCRATCH

# The texts of a form and its files of up to a megabyte are held in memory, and an upload has no
# other limit than that of its archive.
OF_ONE_FILE: Any = {"max_fields": 100, "max_files": 8, "max_part_size": 2**16}


class _Parser(MultiPartParser):
    """Starlette's parser, with another folder for the files."""

    def __init__(self, *given: Any, folder: Path, **limits: Any) -> None:
        super().__init__(*given, **limits)
        self.folder = folder

    def on_headers_finished(self) -> None:
        super().on_headers_finished()
        part = self._current_part.file
        if part is not None:
            # On Linux the file never has a name, so that a killed process leaves nothing behind;
            # elsewhere it has one for a moment, which app.unlearning.cleanup knows by its prefix.
            limit, folder = self.spool_max_size, str(self.folder)
            file = SpooledTemporaryFile(limit, dir=folder, prefix=f"{SCRATCH}-")  # noqa: SIM115
            self._files_to_close_on_error[-1].close()
            self._files_to_close_on_error[-1] = file
            part.file = file  # type: ignore[assignment]

    def told(self, error: MultiPartException) -> str:
        """Return the fault of the form in this project's words."""
        if "boundary" in error.message:
            return (
                "the form's Content-Type names no boundary between its parts: let the client "
                "library set that header, with the boundary that it chose"
            )
        if not error.message.startswith("Part exceeded"):
            return f"the form cannot be read: {error.message}"
        return (
            f"the field {self._current_part.field_name[:80]!r} of the form is a text of more than "
            f"{self.max_part_size} bytes, as its part has no filename: a file is sent with one, as "
            "curl -F file=@images.zip does"
        )


class SpoolingRequest(Request):
    """A request that spools its form into the scratch folder."""

    async def _get_form(self, **limits: Any) -> FormData:
        kind = self.headers.get("content-type", "").partition(";")[0].strip().lower()
        if self._form is None and kind == "multipart/form-data":
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


class SingleFields(SpoolingRequest):
    """A request whose form has every field once: of two files, nobody can know which is meant."""

    async def _get_form(self, **limits: Any) -> FormData:
        form = await super()._get_form(**limits)
        names = [name for name, _ in form.multi_items()]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            await form.close()
            raise Malformed(
                "field_repeated",
                f"the form has the field {twice[0][:80]!r} more than once: send it once, and every "
                "file in a request of its own",
            )
        return form


class SpoolingRoute(ScopedRoute):
    """A route whose multipart files go to the scratch folder; a form has each field once."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        if self.body_field is None:  # FastAPI reads no form here
            return handle

        async def spooling(request: Request) -> Response:
            try:
                return await handle(SingleFields(request.scope, request.receive))
            except HTTPException as error:
                # FastAPI blames the client for every error in a form; the disk's are not its fault.
                if isinstance(error.__cause__, Problem | OSError):
                    raise error.__cause__ from None
                raise

        return spooling
