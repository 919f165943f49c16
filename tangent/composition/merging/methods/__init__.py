"""The merge methods, one module each: the package finds them by their files."""

from collections.abc import Iterable
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from tangent.composition.merging.merge_method import MergeMethod
from tangent.errors import UnknownOperator


def declared(paths: Iterable[str]) -> dict[str, MergeMethod]:
    """Return the METHOD of every module in these folders, by name."""
    names = sorted(module.name for module in iter_modules(list(paths)))
    methods = [import_module(f"{__name__}.{name}").METHOD for name in names]
    return {method.name: method for method in methods}


METHODS = declared(__path__)


def merge_method(name: Any) -> MergeMethod:
    """Return the merge method of this name.

    Raises:
        UnknownOperator: there is none.
    """
    if not isinstance(name, str) or name not in METHODS:
        raise UnknownOperator(f"no operator is called {name!r}; choose one of {', '.join(METHODS)}")
    return METHODS[name]
