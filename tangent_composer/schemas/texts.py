"""Texts that every database and hash accepts: without NUL and without lone surrogates.

JSON can hold both, Postgres accepts neither, and a lone surrogate has no encoding in UTF-8.
"""

from collections.abc import Iterator
from functools import partial
from itertools import islice
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    ValidationError,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError, PydanticKnownError

MAX_REPORTED = 20  # faults of one body
MAX_LISTED = 30_000  # entries of one list; settings and routes bound most lists further
MAX_NAMES = 100  # of one object whose names are fixed; none has as many

Place = tuple[str | int, ...]


def fault(text: str) -> str | None:
    """Return the end of a sentence that says why the text cannot be stored; None if it can."""
    if "\0" in text:
        return "has a NUL character"
    try:
        text.isascii() or text.encode()
    except UnicodeEncodeError:
        return "has half of a character (a lone surrogate)"
    return None


def faults(value: Any) -> Iterator[tuple[Place, str]]:
    """Yield the place of every text in a JSON value that cannot be stored, and the reason."""
    # No recursion, as the value may be deep; no list of open items, as the value may be long.
    names: list[Any] = []
    open_: list[Iterator[tuple[Any, Any]]] = [iter([(None, value)])]
    while open_:
        for name, item in open_[-1]:
            if isinstance(name, str) and (why := fault(name)):
                yield _place(names, name), f"the name {why}"
            if isinstance(item, str):
                if why := fault(item):
                    yield _place(names, name), f"the text {why}"
            elif isinstance(item, dict | list) and item:
                names.append(name)
                open_.append(iter(item.items() if isinstance(item, dict) else enumerate(item)))
                break
        else:
            open_.pop()
            if names:
                names.pop()


def _place(names: list[Any], name: Any) -> Place:
    inside = (each for each in (*names, name) if each is not None)  # None: the value itself
    return tuple(
        each.encode(errors="replace").decode() if isinstance(each, str) else each for each in inside
    )


def _storable(text: str) -> str:
    if why := fault(text):
        raise ValueError(f"the text {why}")
    return text


Text = Annotated[str, AfterValidator(_storable)]


def _few(given: Any, most: int) -> Any:
    # pydantic checks a max_length when every name and value of an object has its error.
    if isinstance(given, dict) and len(given) > most:
        facts = {"field_type": "Dictionary", "max_length": most, "actual_length": len(given)}
        raise PydanticKnownError("too_long", facts)
    return given


def at_most(count: int) -> BeforeValidator:
    """Return a check, run before validation, that an object has at most `count` names."""
    return BeforeValidator(partial(_few, most=count))


class Closed(BaseModel):
    """A client's object with no names but the model's; too many names are a single error."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _few_names(cls, given: Any) -> Any:
        return _few(given, MAX_NAMES)


class Given(Closed):
    """A client's object in which every text can be stored; others are refused by their place."""

    @model_validator(mode="before")
    @classmethod
    def _all_storable(cls, given: Any) -> Any:
        errors: list[InitErrorDetails] = [
            {
                "type": PydanticCustomError("text_not_storable", "{why}", {"why": why}),
                "loc": place,
                "input": None,
            }
            for place, why in islice(faults(given), MAX_REPORTED)
        ]
        if errors:
            raise ValidationError.from_exception_data(cls.__name__, errors)
        return given
