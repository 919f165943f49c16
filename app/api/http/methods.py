"""The methods of a path, over all routes: for OPTIONS, and for the Allow header of a refusal."""

import re
from functools import cache
from typing import Any

from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from starlette.routing import Mount, compile_path
from starlette.types import Scope


def methods_of(scope: Scope) -> list[str]:
    """Return the sorted methods that the request's path takes; none if no route has the path."""
    found = {
        method
        for pattern, methods in _patterns(scope["app"])
        if pattern.match(scope["path"])
        for method in methods
    }
    if "GET" in found:
        found.add("HEAD")
    return sorted({*found, "OPTIONS"}) if found else []


@cache
def _patterns(app: FastAPI) -> list[tuple[re.Pattern[str], frozenset[str]]]:
    return [_pattern(context) for context in iter_route_contexts(app.routes)]


def _pattern(context: Any) -> tuple[re.Pattern[str], frozenset[str]]:
    if isinstance(context.route, Mount):
        return re.compile(re.escape(context.route.path) + "/"), frozenset({"GET"})
    return compile_path(context.path)[0], frozenset(context.methods or ())
