"""Build the site of the documentation into `build/docs`, without any network.

Where there is a browser, the page of a service is photographed for it, by following the tutorial.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from documentation import screenshots, source

FOLDER = source.ROOT / "build"


def main() -> int:
    """Build the site; return 0 if nothing was wrong."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="tangent-documentation-") as name:
        pictures = Path(name) / "pictures"
        print(screenshots.take(pictures), flush=True)
        folder = FOLDER / "documentation"
        source.write(folder, pictures if pictures.exists() else None)
    status = built(folder, FOLDER / "docs")
    if status == 0:
        pages = sum(1 for _ in (FOLDER / "docs").rglob("*.html"))
        print(f"{pages} pages in build/docs, {time.monotonic() - began:.0f} s")
    return status


def built(folder: Path, site: Path) -> int:
    """Build the folder's pages into the site's folder; return the status of the builder."""
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--clean"]
    places = [str(source.ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(places)}  # it calls `headings`
    status = subprocess.run(command, cwd=folder, env=environment, check=False).returncode
    if status == 0:
        shutil.rmtree(site, ignore_errors=True)
        (folder / "site").rename(site)
    return status


if __name__ == "__main__":
    sys.exit(main())
