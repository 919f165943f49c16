"""A prediction's request in its three forms: multipart form, raw image, JSON with base64."""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import islice
from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.datastructures import FormData, QueryParams, UploadFile
from starlette.exceptions import HTTPException

from app.api.http.body_limit import MAX_JSON_VALUES, too_many_values, values_in
from app.api.http.faults_in_words import UNREADABLE
from app.api.http.json_bodies import in_utf8
from app.api.http.query_names import LISTS
from app.api.http.spooling import SpoolingRequest
from app.errors import Invalid, Malformed, Problem, Unsupported
from app.images import base64_files
from app.inference.selection import Call
from app.operations.prediction_inputs import too_large
from app.settings import Settings
from tangent_composer.schemas.predictions import (
    EncodedImage,
    PredictionIn,
    PredictionQuery,
)
from tangent_composer.schemas.texts import MAX_REPORTED, faults

RAW = (
    *("image/jpeg", "image/png", "image/webp", "image/bmp", "image/gif", "image/tiff"),
    "application/octet-stream",
)
BYTES = ("application/octet-stream", "binary/octet-stream")
OPTIONAL = {field.alias or name for name, field in PredictionQuery.model_fields.items()}
IS_JSON = re.compile(r"application/(?!json-patch\+)([^/]+\+)?json")
KEPT_QUERIES, KEPT_BYTES = 64, 2048  # of short queries, as the same ones come again
FEW_BYTES = 64 * 2**10  # of text, parsed without a thread
Fields = list[tuple[str, str]]


@dataclass(frozen=True)
class PredictionRequest:
    """A prediction's query and images; an image that cannot be read is replaced by its problem."""

    query: PredictionQuery
    images: list[bytes | Problem]


@dataclass(frozen=True)
class Parsing:
    """A request that was read, and is still to be parsed."""

    parse: Callable[[], PredictionRequest]
    size: int  # bytes or characters of its text
    settings: Settings

    async def result(self, call: Call) -> PredictionRequest:
        """Return the parsed request; `call` runs in a thread what would block the event loop.

        Raises:
            TooLarge: `request_too_large`, for a form with too many values.
            Invalid: `no_images`, `too_many_images`.
            RequestValidationError: for the other fields.
        """
        found = self.parse() if self.size <= FEW_BYTES else await call(self.parse)
        check_count(found.images, self.settings)
        return found


async def prediction_parser(request: Request) -> Parsing:
    """Read a request of any of the three media types.

    Raises:
        Unsupported: `unsupported_media_type`.
        RequestValidationError: for a file where a text belongs, or a text where a file belongs.
    """
    settings: Settings = request.app.state.settings
    content_type = request.headers.get("content-type", "")
    media_type = content_type.partition(";")[0].strip().lower()
    if IS_JSON.fullmatch(media_type):
        body = await request.body()
        return Parsing(partial(_from_json, body, content_type), len(body), settings)
    if media_type == "multipart/form-data":
        fields, images = await _read_form(request, settings)
    elif media_type in BYTES or media_type.startswith("image/"):  # its bytes tell what it is
        return _of_one_image(request.scope["query_string"], await request.body(), settings)
    else:
        raise Unsupported(
            "unsupported_media_type",
            f"a prediction cannot be read from {media_type or 'a body without Content-Type'}: send "
            f"multipart/form-data with images=<file>, a raw {', '.join(RAW)}, or application/json",
        )
    size = sum(len(name) + len(text) for name, text in fields)
    return Parsing(partial(_from_fields, fields, images), size, settings)


def _of_one_image(query: bytes, body: bytes, settings: Settings) -> Parsing:
    images: list[bytes | Problem] = [body] if body else []
    read = _known_query if len(query) <= KEPT_BYTES else _from_query
    return Parsing(lambda: PredictionRequest(read(query), images), len(query), settings)


def _from_query(query: bytes) -> PredictionQuery:
    return _checked_fields(QueryParams(query).multi_items(), "query")


_known_query = lru_cache(KEPT_QUERIES)(_from_query)  # one model serves all requests that have it


def check_count(images: Sequence[object], settings: Settings) -> None:
    """Check that a prediction has some images, and not too many.

    Raises:
        Invalid: `no_images`, `too_many_images`.
    """
    most = settings.max_prediction_images
    if not images:
        raise Invalid("no_images", "the request has no image: send at least one as images=<file>")
    if len(images) > most:
        raise _too_many(str(len(images)), most)


def _too_many(count: str, most: int) -> Invalid:
    return Invalid(
        "too_many_images",
        f"the request has {count} images, the most is {most}: send them in several requests",
    )


async def _read_form(request: Request, settings: Settings) -> tuple[Fields, list[bytes | Problem]]:
    """Return the fields of form and query, and the images.

    Raises:
        Invalid: `too_many_images`, for more files than are read to count them.
    """
    most = settings.max_prediction_images
    spooling = SpoolingRequest(request.scope, request.receive)
    try:
        async with spooling.form(max_files=4 * most, max_fields=1000) as form:
            fields, images = await _parts(form, settings.max_image_bytes)
    except HTTPException as error:
        if getattr(error.__cause__, "message", "").startswith("Too many files"):
            raise _too_many(f"more than {4 * most}", most) from None
        raise
    return request.query_params.multi_items() + fields, images


async def _parts(form: FormData, max_bytes: int) -> tuple[Fields, list[bytes | Problem]]:
    fields: Fields = []
    images: list[bytes | Problem] = []
    for name, value in form.multi_items():
        if isinstance(value, UploadFile) and name == "images":
            size = value.size or 0
            images.append(too_large(size, max_bytes) if size > max_bytes else await value.read())
        elif isinstance(value, str) and name != "images":
            fields.append((name, value))
        else:
            kind = (
                "a file" if isinstance(value, UploadFile) else "text, as its part has no filename"
            )
            raise _wrong(("body", name), f"{name} came as {kind}; files are images=<file> only")
    return fields, images


def _from_fields(fields: Fields, images: list[bytes | Problem]) -> PredictionRequest:
    return PredictionRequest(_checked_fields(fields, "body"), images)


def _checked_fields(fields: Fields, where: str) -> PredictionQuery:
    if sum(values_in(text.encode(errors="replace")) for _, text in fields) > MAX_JSON_VALUES:
        raise too_many_values()
    query: PredictionQuery = checked(PredictionQuery, named(fields), where)
    return query


def _from_json(body: bytes, content_type: str) -> PredictionRequest:
    query = checked(PredictionIn, read_text(body, content_type), "body")
    return PredictionRequest(query, [_decoded(image) for image in query.images])


def read_text(body: bytes, content_type: str) -> bytes:
    """Return a body of JSON in UTF-8.

    Raises:
        Malformed: `malformed_request`.
    """
    try:
        return in_utf8(body, content_type)
    except UnicodeError:
        raise Malformed("malformed_request", UNREADABLE) from None


def _decoded(image: EncodedImage) -> bytes | Problem:
    try:
        return base64_files.decoded(image.b64)
    except Invalid as problem:
        return problem


def named(items: Fields) -> dict[str, Any]:
    """Return form or query fields as the JSON body would have them.

    Raises:
        RequestValidationError: when a field that has one value comes twice.
    """
    fields: dict[str, Any] = {}
    for name, text in items:
        if not text and name in OPTIONAL:  # as HTML forms send a field that nobody filled in
            continue
        if name in LISTS:
            fields.setdefault(name, []).extend(_listed(name, text))
        elif name in fields:
            raise _wrong(("body", name), f"{name} was sent more than once")
        else:
            fields[name] = text
    return fields


def _listed(name: str, text: str) -> list[Any]:
    """Return a list from JSON, or from text with commas; components in text are ids only."""
    if text.lstrip().startswith("["):
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            text = f"{name} looks like a JSON list but does not parse"
            raise _wrong(("body", name), text) from None
    parts: list[Any] = [part.strip() for part in text.split(",") if part.strip()]
    return [{"id": part} for part in parts] if name == "components" else parts


def checked(model: type[Any], given: bytes | dict[str, Any], where: str) -> Any:
    """Return the model of JSON, or of fields.

    Raises:
        RequestValidationError: with the places of what does not fit.
    """
    try:
        if isinstance(given, bytes):
            return model.model_validate_json(given)
        return model.model_validate(given)
    except ValidationError as error:
        errors = error.errors(include_input=False)
        if isinstance(given, bytes) and errors[0]["type"] == "json_invalid":
            _find_fault(given)
        raise RequestValidationError(
            [item | {"loc": (where, *item["loc"])} for item in errors]
        ) from None


def _find_fault(body: bytes) -> None:
    """Find lone surrogates, which JSON may hold, in a body that pydantic's parser refuses.

    Raises:
        RequestValidationError: with the places of the surrogates.
    """
    try:
        found = list(islice(faults(json.loads(body)), MAX_REPORTED))
    except (ValueError, RecursionError):
        return
    if found:
        raise RequestValidationError(
            [
                {"type": "text_not_storable", "loc": ("body", *place), "msg": why}
                for place, why in found
            ]
        )


def _wrong(location: tuple[str, ...], text: str) -> RequestValidationError:
    return RequestValidationError([{"type": "value_error", "loc": location, "msg": text}])
