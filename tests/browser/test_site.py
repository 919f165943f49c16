"""The site of the documentation in a browser: it asks nobody else, and has no errors."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from playwright.sync_api import Page, expect

from documentation import source
from documentation.__main__ import built


class Quiet(SimpleHTTPRequestHandler):
    """Files of a folder, without a line for each request."""

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def hosted(folder: Path) -> Iterator[str]:
    """Serve the folder on this machine during the block; yield its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site as `make docs` builds it, without pictures of the page."""
    folder = tmp_path_factory.mktemp("documentation")
    source.write(folder / "source")
    assert built(folder / "source", folder / "site") == 0
    return folder / "site"


def test_every_page_of_the_site_has_a_title_and_asks_only_its_own_host(
    page: Page, site: Path
) -> None:
    pages = sorted(path.relative_to(site) for path in site.rglob("*.html"))
    assert len(pages) > 100
    with hosted(site) as url:
        for path in pages:
            answer = page.goto(f"{url}/{path}", wait_until="load")
            assert answer is not None
            assert answer.ok, path
            expect(page.locator("h1").first).to_be_visible()


def test_the_site_is_searched_without_a_service(page: Page, site: Path) -> None:
    with hosted(site) as url:
        page.goto(f"{url}/index.html")
        page.keyboard.press("/")
        page.keyboard.type("receipt")
        expect(page.get_by_role("link", name="receipt").first).to_be_visible()
