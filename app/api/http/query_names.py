"""The names of a route's query parameters; others are refused, as their sender means something."""

from collections import Counter
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from itertools import islice
from typing import Any
from urllib.parse import unquote_plus

from fastapi.dependencies.utils import get_flat_params
from fastapi.params import Query
from fastapi.routing import APIRoute

LISTS = ("components", "labels", "return")  # of predictions, which may repeat
IGNORED = ("_",)  # that libraries of browsers add, so that no cache answers
MAX_UNKNOWN = 20  # that are told, as finding the nearest name takes a while


def names_of(route: APIRoute) -> tuple[str, ...]:
    """Return the names that the route's part of the document has."""
    declared = get_flat_params(route.dependant)
    described = (route.openapi_extra or {}).get("parameters", [])
    names = [each.alias for each in declared if isinstance(each.field_info, Query)]
    names += [each["name"] for each in described if each["in"] == "query"]
    return tuple(sorted(set(names)))


def unknown(given: Iterable[str], known: Sequence[str]) -> list[dict[str, Any]]:
    """Return the errors of those given names that are not known: of the first few of them."""
    taken = {*known, *IGNORED}
    open_ = tuple(name[:-1] for name in known if name.endswith("*"))  # such as metadata.*
    others = (name for name in given if name not in taken and not name.startswith(open_))
    names = islice(others, MAX_UNKNOWN)
    return [
        {"type": "unknown_parameter", "loc": ("query", name), "msg": _told(name, known)}
        for name in names
    ]


def repeated(given: Iterable[str], known: Sequence[str]) -> list[dict[str, Any]]:
    """Return the errors of names that are given more than once, of which all but one would be lost.

    Names in LISTS may repeat where predictions are asked for.
    """
    may = {*IGNORED, *(LISTS if "return" in known else ())}
    often = (name for name, times in Counter(given).items() if times > 1 and name not in may)
    told = "is given more than once: give it once"
    return [
        {"type": "repeated_parameter", "loc": ("query", name), "msg": told}
        for name in islice(often, MAX_UNKNOWN)
    ]


def without_empty(query: bytes, known: Sequence[str]) -> bytes:
    """Return the query without those known parameters that have no value, as forms send them."""
    return b"&".join(
        part
        for part in query.split(b"&")
        if not part.endswith(b"=") or unquote_plus(part[:-1].decode("latin-1")) not in known
    )


def _told(name: str, known: Sequence[str]) -> str:
    if nearest := get_close_matches(name[:64], known, 1):
        return f"there is no such parameter: did you mean {nearest[0]!r}?"
    if known:
        return f"there is no such parameter: there are {', '.join(known)}"
    return "there is no such parameter, as this route has none: leave it out"
