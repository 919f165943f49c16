"""A real browser on the page: Chromium driven by Playwright, and a watch over what it says.

with chromium() as browser: …         skipped where there is none, but fails in CI
watch.expect("status of 409")         a fault that is part of the test
sign_in(page, url, key)               by the form, as people do
"""

import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Error,
    Page,
    Request,
    WebError,
    expect,
    sync_playwright,
)

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = ["--disable-dev-shm-usage", *(["--no-sandbox"] if os.geteuid() == 0 else [])]
PATIENCE = 30_000  # milliseconds, for what takes a moment on an idle machine
NewPage = Callable[..., Page]  # of the fixture new_page
LISTEN = """
document.addEventListener("securitypolicyviolation", (event) => console.error(
  `the content security policy was violated: ${event.effectiveDirective} ${event.blockedURI}`));
"""
expect.set_options(timeout=PATIENCE)


@contextmanager
def chromium() -> Iterator[Browser]:
    """Run the Chromium of this machine until the block ends.

    Where there is none, or it does not start, the test is skipped, but fails in CI.
    """
    path = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if path is None:
        _without(f"there is no Chromium ({', '.join(PROGRAMS)}): apt-get install chromium")
    with sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        except Error as error:
            _without(f"{path} does not start: {error}")
        yield browser
        browser.close()


def _without(reason: str) -> NoReturn:
    if os.environ.get("CI") == "true":
        pytest.fail(f"CI must run this test in a browser, but {reason}")
    pytest.skip(reason)


class Watch:
    """The faults of pages: errors, violations of their policy, requests to another origin."""

    def __init__(self) -> None:
        self.requests: list[str] = []
        self._faults: list[str] = []
        self._expected: list[re.Pattern[str]] = []
        self._origin: str | None = None

    def expect(self, pattern: str) -> None:
        """Take faults that the pattern is found in as part of the test."""
        self._expected.append(re.compile(pattern))

    def over(self, context: BrowserContext) -> None:
        """Watch every page of the context."""
        context.add_init_script(LISTEN)
        context.on("console", self._heard)
        context.on("weberror", self._failed)
        context.on("request", self._asked)

    def check(self) -> None:
        """Fail if anything was seen that was not expected."""
        unexpected = [
            fault
            for fault in self._faults
            if not any(pattern.search(fault) for pattern in self._expected)
        ]
        assert not unexpected, "\n".join(unexpected)

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            place = (message.location or {}).get("url", "")
            self._faults.append(f"console {message.type}: {message.text} {place}")

    def _failed(self, error: WebError) -> None:
        self._faults.append(f"error on the page: {error.error}")

    def _asked(self, request: Request) -> None:
        self.requests.append(request.url)
        address = urlsplit(request.url)
        if address.scheme in ("blob", "data"):
            return
        origin = f"{address.scheme}://{address.netloc}"
        self._origin = self._origin or origin  # the test itself asks first
        if origin != self._origin:
            self._faults.append(f"request to another origin: {request.url}")


def sign_in(page: Page, url: str, key: str) -> None:
    """Open the page of a service that needs a key, and give it the key by the form."""
    page.goto(url)
    page.get_by_label("Key").fill(key)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("button", name="Sign out")).to_be_visible()
