"""Pictures of the page, taken by following the tutorial's column for it in a browser.

A step that cannot be followed costs the pictures and not the site; a test follows them all.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from app.cli.demo.service import started
from tangent_composer.samples import digits

if TYPE_CHECKING:
    from playwright.sync_api import Page

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = ["--disable-dev-shm-usage", "--no-sandbox"]  # it shows nothing but this machine's page
PATIENCE = 60_000  # milliseconds
WIDTH, HEIGHT = 1100, 760
UNSEEN = "held-out/0-0036.png"


def take(folder: Path) -> str:
    """Take the pictures into the folder; return a sentence about them."""
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        return f"No pictures of the page were taken: there is no {', '.join(PROGRAMS)}."
    try:
        from playwright.sync_api import Error, sync_playwright
    except ImportError:
        return "No pictures of the page were taken: playwright is not installed."
    folder.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="tangent-pictures-") as name,
        sync_playwright() as driver,
    ):
        try:
            browser = driver.chromium.launch(executable_path=program, args=ARGUMENTS)
            view = browser.new_context(viewport=dict(width=WIDTH, height=HEIGHT))  # type: ignore[arg-type]
            page = view.new_page()
            with served(Path(name)) as url:
                follow(page, url, Path(name), lambda at: _shoot(page, folder / f"{at}.png"))
            browser.close()
        except Error as error:
            shutil.rmtree(folder)
            return (
                f"No pictures of the page were taken: {str(error).partition('Call log')[0].strip()}"
            )
    return f"{len(list(folder.iterdir()))} pictures of the page were taken."


@contextmanager
def served(place: Path) -> Iterator[str]:
    """Run what the tutorial starts, in this folder; yield the address of the service."""
    digits.write(place / "digits")
    (place / "data").mkdir()
    os.environ["TANGENT_RECEIPT_KEY_FILE"] = str(_key(place))
    try:
        with started(place / "data") as url:
            yield url
    finally:
        del os.environ["TANGENT_RECEIPT_KEY_FILE"]


def _key(place: Path) -> Path:
    """Make a key that signs receipts, as the tutorial does."""
    file = place / "receipts.pem"
    command = ["openssl", "genpkey", "-algorithm", "ed25519", "-out", str(file)]
    subprocess.run(command, check=True, capture_output=True)
    file.chmod(0o600)
    return file


def _shoot(page: "Page", path: Path) -> None:
    page.mouse.move(0, 0)
    page.screenshot(path=str(path))


def follow(page: "Page", url: str, place: Path, shoot: Callable[[str], None]) -> None:
    """Do what the tutorial says of the page, with a picture at each stop."""
    page.set_default_timeout(PATIENCE)
    samples = place / "digits"
    page.goto(f"{url}/")
    page.get_by_role("button", name="Show the story on sample data").wait_for()
    shoot("start")
    _train(page, url, samples / "0-1.zip", "north", lambda: shoot("upload"))
    _train(page, url, samples / "2-3.zip", "south", lambda: None)
    shoot("component")
    page.goto(f"{url}/#/compose")
    page.locator(".picture input[type=file]").set_input_files(str(samples / UNSEEN))
    page.locator(".verdict").wait_for()
    page.get_by_text("Novelty", exact=True).wait_for()
    shoot("compose")
    page.goto(f"{url}/#/components")
    page.get_by_role("link", name="north").click()
    page.get_by_role("link", name="Unlearn …").click()
    page.get_by_role("button", name="Delete the component").wait_for()
    shoot("unlearn")
    page.get_by_role("button", name="Delete the component").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete the component").click()
    page.get_by_role("link", name="Read and verify receipt").click()
    page.get_by_text("passed").first.wait_for()
    shoot("receipt")


def _train(page: "Page", url: str, archive: Path, name: str, shoot: Callable[[], None]) -> None:
    page.goto(f"{url}/#/datasets/upload")
    page.get_by_label("Choose an archive").set_input_files(str(archive))
    page.get_by_label("Name of the dataset").fill(name)
    page.get_by_role("button", name="Upload").click()
    page.get_by_role("button", name="Train a component").wait_for()
    shoot()
    page.get_by_role("button", name="Train a component").click()
    page.get_by_text("hold-out accuracy").first.wait_for()
