"""Tangent Composer for its users: the client, the command line, and the schemas of the API.

    from tangent_composer import Client

    with Client("http://127.0.0.1:8000") as client:
        dataset = client.datasets.upload("images/")
        component = client.components.train(dataset.id).wait()
        print(client.predict("cat.jpg").labels)

Names are imported on first use (PEP 562), so that `import tangent_composer` costs nothing.
"""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tangent_composer.client.asynchronous.client import AsyncClient as AsyncClient
    from tangent_composer.client.blocking.client import Client as Client
    from tangent_composer.client.errors import TangentError as TangentError

    __version__: str

_MODULES = {  # name -> the module that has it, as imported above for type checkers
    "AsyncClient": "tangent_composer.client.asynchronous.client",
    "Client": "tangent_composer.client.blocking.client",
    "TangentError": "tangent_composer.client.errors",
}
__all__ = ["AsyncClient", "Client", "TangentError", "__version__"]


def __getattr__(name: str) -> Any:
    """Return a public name, imported now."""
    if name == "__version__":
        value: Any = _version()
    elif name in _MODULES:
        value = getattr(import_module(_MODULES[name]), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Return the public names beside what is loaded already."""
    return sorted({*globals(), *__all__})


def _version() -> str:
    try:
        return version("tangent-composer")
    except PackageNotFoundError:  # a bare checkout
        return "0"
