"""Keeps torch's compiler out of the start of a process, which it would lengthen by half.

timm and torchvision ask for it while they are imported: to exempt one function from compilation,
and for a question that only a compiled function asks. Nothing here compiles a model.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any

COMPILER, QUESTIONS = "torch._dynamo", "torch._dynamo.utils"


@contextmanager
def compiler_deferred() -> Iterator[None]:
    """Import during the block without torch's compiler, unless it is loaded or asked for more."""
    if COMPILER in sys.modules:
        yield
        return
    sys.modules |= {COMPILER: _compiler(), QUESTIONS: _questions()}
    try:
        yield
    finally:
        _withdraw()


def _withdraw() -> None:
    """Remove the stand-ins, so that the next one to ask gets the compiler."""
    for name in (COMPILER, QUESTIONS):
        if isinstance(sys.modules.get(name), _StandIn):
            del sys.modules[name]


class _StandIn(ModuleType):
    """A module that loads the real one for whatever else is asked of it."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        _withdraw()
        return getattr(import_module(self.__name__), name)


def _compiler() -> ModuleType:
    module = _StandIn(COMPILER)
    module.disable = _exempt  # type: ignore[attr-defined]
    return module


def _questions() -> ModuleType:
    module = _StandIn(QUESTIONS)

    def is_compile_supported(device: str) -> bool:
        return bool(import_module(QUESTIONS).is_compile_supported(device))

    module.is_compile_supported = is_compile_supported  # type: ignore[attr-defined]
    return module


def _exempt(function: Callable[..., Any] | None = None, *_: Any, **_options: Any) -> Any:
    """Return the function as it is: what is not compiled needs no exemption."""
    return function if function is not None else _exempt
