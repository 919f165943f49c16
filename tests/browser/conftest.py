"""Chromium on the page of a real service; see tests/support/browser.py and served.py."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from app.settings import Settings
from tests.support.browser import PATIENCE, NewPage, Watch, chromium, sign_in
from tests.support.served import Served, served
from tests.support.service import KEY_FREE, Service, running
from tests.support.signing_keys import key_file


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A browser for a file of tests: while it runs, its thread can run no other event loop."""
    with chromium() as started:
        yield started


@pytest.fixture
def watch() -> Watch:
    """Notes the faults of the test's pages."""
    return Watch()


@pytest.fixture
def new_page(browser: Browser, watch: Watch) -> Iterator[NewPage]:
    """Opens pages, each with cookies of its own: `new_page(width=360, color_scheme="dark")`.

    The test fails if one has an error, violates its policy or asks another origin for anything.
    """
    contexts = []

    def made(*, width: int = 1280, height: int = 800, **options: object) -> Page:
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        context.set_default_timeout(PATIENCE)
        contexts.append(context)
        watch.over(context)
        return context.new_page()

    yield made
    for context in contexts:
        context.close()
    watch.check()


@pytest.fixture
def page(new_page: NewPage) -> Page:
    """A page in a window of 1280 by 800."""
    return new_page()


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A service with a key, below a prefix, with a worker; in a process of its own."""
    with served(tmp_path_factory.mktemp("guarded")) as started:
        yield started


@pytest.fixture(scope="module")
def signing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A service like `guarded` that signs its receipts."""
    folder = tmp_path_factory.mktemp("signing")
    with served(folder / "data", receipt_key_file=str(key_file(folder / "key.pem"))) as started:
        yield started


@pytest.fixture
def signed_in(page: Page, guarded: Served) -> Page:
    """The page of the guarded service, with its key given."""
    assert guarded.key is not None
    sign_in(page, guarded.url, guarded.key)
    return page


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory, migrated: Path) -> Iterator[Service]:
    """A service without a key or a worker, in this process: tests may insert rows."""
    folder = tmp_path_factory.mktemp("plain") / "data"
    shutil.copytree(migrated, folder)
    given = KEY_FREE | {"device": "cpu", "threads": 1, "scope": "head", "data_dir": folder}
    with running(Settings(**given)) as started:
        yield started
