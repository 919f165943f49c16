"""Faults of requests that FastAPI and Starlette find, in this project's words."""

from collections.abc import Sequence
from typing import Any

from fastapi import Request
from fastapi.params import File
from starlette.exceptions import HTTPException

from app.api.http.json_bodies import RepeatedName
from app.errors import Unsupported

UNREADABLE = (
    "the request's body cannot be read: JSON must be in UTF-8, and a form must have the boundary "
    "that its Content-Type names"
)
EMPTY = "the request's body is empty: send a JSON object, with its Content-Length"
NO_FILENAME = (
    "it came as text, as its part has no filename: send a file, as curl -F file=@images.zip does"
)
NO_OBJECT = ("model_attributes_type", "dict_type", "model_type")  # of what pydantic calls errors


def of_body(error: HTTPException) -> str:
    """Return the fault of a body that FastAPI could not read, or another error's own text."""
    if error.detail != "There was an error parsing the body":
        return str(error.detail)
    cause = error.__cause__
    if isinstance(cause, RecursionError):
        return "the JSON of the request's body is nested too deeply: no route needs that"
    if isinstance(cause, RepeatedName):
        return str(cause)
    if isinstance(cause, ValueError) and "digits" in str(cause):
        return "the JSON of the request's body has a number of too many digits"
    return UNREADABLE


def of_field(fault: dict[str, Any]) -> str:
    """Return the fault of one field."""
    text = fault["msg"].removeprefix("Value error, ")
    if fault["type"] in NO_OBJECT:
        return "Input should be an object"
    if fault["type"] == "too_long" and isinstance(fault.get("input"), str):
        return text.replace(" items ", " characters ")
    return NO_FILENAME if text.startswith("Expected UploadFile") else text


def of_json(fault: dict[str, Any]) -> str:
    """Return the fault of a body that is not JSON, with its place."""
    why = fault.get("ctx", {}).get("error", fault["msg"])
    if str(why).startswith("EOF") and "line 1 column 0" in str(why):
        return EMPTY
    if "recursion limit" in str(why):
        return f"the JSON of the request's body is nested too deeply ({why}): no route needs that"
    at = [part for part in fault["loc"] if isinstance(part, int)]
    place = f"; character {at[-1] + 1}" if at else ""
    return f"the request's body is not JSON ({why}{place}): check its quotes, commas and brackets"


def other_media_type(request: Request, faults: Sequence[dict[str, Any]]) -> Unsupported | None:
    """Return the problem of a body that was sent by another media type than the route reads.

    FastAPI takes the bytes of such a body for the value, or finds no field in it.
    """
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    shown = given[:80] or "a body without Content-Type"
    is_json = given == "application/json" or given.endswith("+json")
    places = {(tuple(fault["loc"]), fault["type"]) for fault in faults}
    if not is_json and any(where == ("body",) and kind in NO_OBJECT for where, kind in places):
        return Unsupported(
            "unsupported_media_type",
            f"this route reads JSON, and got {shown}: send it with Content-Type: application/json, "
            "as curl -H 'Content-Type: application/json' does",
        )
    missing = next(
        (name for name in _files_of(request) if (("body", name), "missing") in places), ""
    )
    if missing and given != "multipart/form-data":
        return Unsupported(
            "unsupported_media_type",
            f"this route reads a file, and got {shown}: send multipart/form-data with "
            f"{missing}=<file>, as curl -F {missing}=@name does",
        )
    return None


def _files_of(request: Request) -> list[str]:
    """Return the names of the files in the form of the request's route."""
    dependant = getattr(request.scope.get("route"), "dependant", None)
    fields = dependant.body_params if dependant else []
    return [field.alias for field in fields if isinstance(field.field_info, File)]
