"""An API process of a simulation: its application, and a client that speaks to it directly."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from threading import enumerate as enumerate_threads
from typing import Any
from unittest.mock import patch

from fastapi import FastAPI

import tangent
from app.main import create_app, opened
from app.settings import Settings
from tests.support.direct_client import DirectClient, called_in_this_thread
from tests.support.faults import Dead
from tests.support.service import KEY_FREE, Service
from tests.support.statement_cache import statements_compiled_once
from tests.support.stepped_leases import leases_by_steps

SCOPE = "head"  # exact, and trained in milliseconds
GIVEN = KEY_FREE | {"device": "cpu", "threads": 1, "scope": SCOPE}
GIVEN |= {"lease_seconds": 30.0}  # of leases by steps: no deletion waits for it


@contextmanager
def simulating() -> Iterator[None]:
    """Let processes of the block share what never changes, and do everything in this thread."""
    with ExitStack() as stack:
        open_once = cache(tangent.open_space)
        stack.enter_context(patch("app.inference.engine.engine.open_space", open_once))
        # No two requests run at once here: a blob without a row belongs to a process that died.
        stack.enter_context(patch("app.files.sweep.UNCLAIMED_SECONDS", -1))
        stack.enter_context(called_in_this_thread())
        stack.enter_context(statements_compiled_once())
        stack.enter_context(leases_by_steps())
        yield


@cache
def application(which: int) -> FastAPI:
    """The application of one of the processes; its routes take a while to build."""
    return create_app(Settings(**GIVEN))


@dataclass
class Process:
    """One API process: its application and a client that speaks to it directly.

    `threads` are those that it started: they live and die with it.
    """

    which: int
    settings: Settings

    def __post_init__(self) -> None:
        self.app = application(self.which)
        self.app.state.settings = self.settings
        self._context = opened(self.app, self.settings)
        others = set(enumerate_threads())
        self._context.__enter__()
        self.threads = set(enumerate_threads()) - others
        client = DirectClient(self.app)  # a lifespan is not run
        self.service = Service(self.app, self.settings, "http://127.0.0.1", client)

    def end(self) -> None:
        """Close what the process holds, as a clean stop does; a dead one has no effect."""
        with suppress(Dead):
            self._context.__exit__(None, None, None)
        self.service.client.close()

    def get(self, path: str) -> Any:
        """Return the JSON at this path."""
        answer = self.service.client.get(f"/v1/{path}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    def pages(self, path: str) -> Iterator[dict[str, Any]]:
        """Yield every item of a list."""
        after = ""
        while True:
            page = self.get(f"{path}?limit=100{after}")
            yield from page["data"]
            if not page["has_more"]:
                return
            after = f"&after={page['next']}"

    def ids(self, kind: str) -> list[str]:
        """Return the ids of all datasets, or of all components."""
        return [each["id"] for each in self.pages(kind)]

    def images(self, dataset_id: str) -> list[dict[str, Any]]:
        """Return the rows of a dataset's images."""
        return list(self.pages(f"datasets/{dataset_id}/images"))
