"""Fields of forms that hold a JSON object."""

from typing import Any

from fastapi import Form
from fastapi.exceptions import RequestValidationError
from pydantic import TypeAdapter, ValidationError

from app.api.http.json_bodies import RepeatedName, value_of
from tangent_composer.schemas.texts import faults

MAX_TEXT = 20_000  # characters of a field with JSON
OBJECT = r"^\s*\{"  # as a pattern


def json_field(description: str) -> Any:
    """Return the description of a field with a JSON object."""
    return Form(max_length=MAX_TEXT, pattern=OBJECT, description=description)


def object_of(
    name: str, text: str | None, kind: TypeAdapter[dict[str, Any]]
) -> dict[str, Any] | None:
    """Return the JSON object of a field, checked; None if the field was not sent.

    Raises:
        RequestValidationError: it is no JSON, or does not fit.
    """
    if text is None:
        return None
    try:
        value = value_of(text)
    except RepeatedName as repeated:
        raise _wrong(name, (), str(repeated)) from None
    except (ValueError, RecursionError):
        raise _wrong(name, (), "it is no JSON: send an object in double quotes") from None
    for place, why in faults(value):
        raise _wrong(name, place, why)
    try:
        return kind.validate_python(value)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        raise _wrong(name, first["loc"], first["msg"]) from None


def _wrong(name: str, place: tuple[Any, ...], text: str) -> RequestValidationError:
    return RequestValidationError(
        [{"type": "value_error", "loc": ("body", name, *place), "msg": text}]
    )
