"""The page in a browser on loopback: the time to its first picture, next to that of /docs.

    make bench-page

Chromium opens both in turn, each without anything kept from before. Printed are medians.
"""

import argparse
import shutil
import tempfile
from pathlib import Path
from statistics import median

from playwright.sync_api import Browser, sync_playwright

from benchmarks.battery.processes import Process
from benchmarks.interleaved import machine
from documentation.screenshots import ARGUMENTS, PROGRAMS

PAINT = "performance.getEntriesByName('first-contentful-paint')[0].startTime"
SENT = """performance.getEntries()
  .filter(({ entryType }) => ["navigation", "resource"].includes(entryType))
  .reduce((sum, { encodedBodySize }) => sum + encodedBodySize, 0)"""
PAGES = {"the page": "/", "the documentation of the API": "/docs"}


def main() -> None:
    """Print a line for each document."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.page", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        raise SystemExit(f"there is no {', '.join(PROGRAMS)}: install one")
    with tempfile.TemporaryDirectory(prefix="tangent-page-") as folder, sync_playwright() as driver:
        service = Process(Path(folder) / "data", database=None, worker=False)
        try:
            browser = driver.chromium.launch(executable_path=program, args=ARGUMENTS)
            found = {name: [opened(browser, service.url + path)] for name, path in PAGES.items()}
            for _ in range(rounds):
                for name, path in PAGES.items():
                    found[name].append(opened(browser, service.url + path))
            browser.close()
        finally:
            service.end()
    print(f"{machine(1).rpartition(', torch')[0]}; medians of {rounds} rounds")
    for name, each in found.items():
        paints, sizes = zip(*each[1:], strict=True)  # the first warms the service up
        print(f"{name}: first picture after {median(paints):.0f} ms, {median(sizes):.0f} bytes")


def opened(browser: Browser, url: str) -> tuple[float, int]:
    """Return the milliseconds to the first picture, and the bytes that were sent in all."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    try:
        page = context.new_page()
        page.goto(url, wait_until="networkidle")
        return page.evaluate(PAINT), page.evaluate(SENT)
    finally:
        context.close()


if __name__ == "__main__":
    main()
