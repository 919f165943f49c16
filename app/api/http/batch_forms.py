"""A batch prediction's request in its two forms: JSON with a dataset, a form with an archive."""

from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, BinaryIO, NamedTuple, get_args

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.datastructures import UploadFile

from app.api.http.prediction_document import selection_fields
from app.api.http.prediction_forms import IS_JSON, checked, named, read_text
from app.api.http.scopes import ScopedRoute
from app.api.http.spooling import OF_ONE_FILE, SingleFields
from app.api.http.upload_slots import UploadSlots
from app.archives.entries import CodePage
from app.errors import Unsupported
from tangent_composer.schemas.batch_predictions import (
    DETERMINISTIC,
    BatchOptions,
    BatchPredictionIn,
)

OPTIONS = tuple(BatchOptions.model_fields)
FORM = ("file", "code_page", *OPTIONS)


class Sent(NamedTuple):
    """A request, and the archive if it has one."""

    options: BatchOptions  # a BatchPredictionIn without an archive
    file: BinaryIO | None = None
    code_page: str | None = None


async def batch_parser(request: Request) -> AsyncIterator[Sent]:
    """Yield the request of either media type; an archive is closed afterwards.

    Raises:
        Unsupported: `unsupported_media_type`.
        RequestValidationError: what does not fit.
    """
    media_type = _media_type(request)
    if IS_JSON.fullmatch(media_type):
        text = read_text(await request.body(), request.headers["content-type"])
        yield Sent(checked(BatchPredictionIn, text, "body"))
        return
    if media_type != "multipart/form-data":
        raise Unsupported(
            "unsupported_media_type",
            f"a batch prediction cannot be read from {media_type or 'a body without Content-Type'}:"
            " send application/json with a dataset_id, or multipart/form-data with file=<archive>, "
            "as curl -F file=@images.zip does",
        )
    single = SingleFields(request.scope, request.receive)
    single.known = FORM
    async with single.form(**OF_ONE_FILE) as form:
        file, code_page = form.get("file"), form.get("code_page") or None
        if isinstance(code_page, UploadFile):
            raise _wrong("code_page", "a file came where a text belongs")
        if not isinstance(file, UploadFile):
            what = "missing" if file is None else "text, as its part has no filename"
            raise _wrong("file", f"the archive is {what}: send it as -F file=@images.zip")
        if code_page is not None and code_page not in get_args(CodePage):
            raise _wrong("code_page", f"no such code page: {', '.join(get_args(CodePage))}")
        texts = [(name, value) for name, value in form.multi_items() if name in OPTIONS]
        fields = [(name, value) for name, value in texts if isinstance(value, str)]
        if len(fields) < len(texts):
            raise _wrong(texts[0][0], "a file came where a text belongs")
        yield Sent(checked(BatchOptions, named(fields), "body"), file.file, code_page)


def refuse_split(split: str | None) -> None:
    """Refuse a split of an archive.

    Raises:
        RequestValidationError: one is given.
    """
    if split is not None:
        told = "splits are of a dataset: all images of an archive are predicted, so leave it out"
        raise RequestValidationError(
            [{"type": "value_error", "loc": ("query", "split"), "msg": told}]
        )


def _media_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _wrong(name: str, text: str) -> RequestValidationError:
    return RequestValidationError([{"type": "value_error", "loc": ("body", name), "msg": text}])


class BatchRoute(ScopedRoute):
    """A route that may take an archive: nothing of that is read before its turn."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler that waits for its turn."""
        handle = super().get_route_handler()

        async def in_turn(request: Request) -> Response:
            if request.method != "POST" or _media_type(request) != "multipart/form-data":
                return await handle(request)
            slots: UploadSlots = request.app.state.upload_slots
            async with slots.receiving():
                return await handle(request)

        return in_turn


def in_two_forms() -> dict[str, Any]:
    """Return the two forms for the OpenAPI document."""
    fields = selection_fields() | {
        "file": {
            "type": "string",
            "format": "binary",
            "description": "a zip, tar, tar.gz or tar.zst archive of images, with or without "
            "folders",
        },
        "code_page": {
            "type": "string",
            "enum": list(get_args(CodePage)),
            "description": "of file names that are not marked as UTF-8",
        },
        "deterministic": {"type": "boolean", "default": False, "description": DETERMINISTIC},
    }
    fields["top_k"] = fields["top_k"] | {"maximum": 100}
    form = {"type": "object", "required": ["file"], "properties": fields}
    schema = {"$ref": f"#/components/schemas/{BatchPredictionIn.__name__}"}
    return {
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": schema},
                "multipart/form-data": {"schema": form},
            },
        }
    }
