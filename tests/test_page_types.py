"""The page's JSDoc types hold by TypeScript's strict checks, against the OpenAPI document.

A copy of the page is checked: the vendored packages have the types that they are published with,
and `api/schema.js`, which the page's comments name, has those of docs/openapi.json.
"""

import gzip
import hashlib
import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.installations import installed_by_npm, run

ROOT = Path(__file__).resolve().parent.parent
PAGE, SOURCES = ROOT / "app" / "page", Path(__file__).parent / "page_types"
VENDORED = json.loads((PAGE / "vendor" / "vendor.json").read_text())["packages"]
TYPES = {  # of the vendored files, by their packages
    "preact.d.ts": 'export * from "preact";',
    "hooks.d.ts": 'export * from "preact/hooks";',
    "htm.d.ts": 'export { default } from "htm";',
    "signals.d.ts": 'export * from "@preact/signals";',
}
MAX_BYTES = 150_000  # that a browser loads to see every view, compressed as they are served
pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def packages() -> Path:
    """A folder with the packages of package-lock.json."""
    return installed_by_npm("page-types", SOURCES)


@pytest.fixture(scope="module")
def copy(packages: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a copy of the page in which everything has types."""
    folder = tmp_path_factory.mktemp("page-types")
    (folder / "node_modules").symlink_to(packages / "node_modules")
    shutil.copy(SOURCES / "tsconfig.json", folder)
    shutil.copytree(PAGE, folder / "page", ignore=shutil.ignore_patterns("vendor"))
    (folder / "page" / "vendor").mkdir()
    for name, text in TYPES.items():
        (folder / "page" / "vendor" / name).write_text(text + "\n")
    generator = packages / "node_modules" / ".bin" / "openapi-typescript"
    document, schema = ROOT / "docs" / "openapi.json", folder / "page" / "api" / "schema.d.ts"
    run(generator, document, "--output", schema, cwd=folder)
    return folder


def check(folder: Path) -> None:
    """Fail with what TypeScript has against the files of a folder."""
    compiler = folder / "node_modules" / ".bin" / "tsc"
    done = subprocess.run([compiler], cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_file_of_the_page_passes_the_strict_checks(copy: Path) -> None:
    check(copy)


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("component.nmae", "Property 'nmae' does not exist"),
        ("component.metrics.holdout_accuracy + 1", "is possibly 'null'|is possibly 'undefined'"),
    ],
)
def test_a_field_that_the_api_does_not_have_is_found(copy: Path, line: str, fault: str) -> None:
    wrong = copy / "page" / "wrong.js"
    wrong.write_text(
        '/** @typedef {import("./api/schema.js").components["schemas"]} Schemas */\n'
        '/** @param {Schemas["ComponentOut"]} component */\n'
        f"export function wrong(component) {{ return {line}; }}\n"
    )
    try:
        with pytest.raises(AssertionError, match=fault):
            check(copy)
    finally:
        wrong.unlink()


def test_the_types_are_of_the_versions_that_are_vendored() -> None:
    wanted = json.loads((SOURCES / "package.json").read_text())["dependencies"]
    for package in VENDORED:
        assert wanted[package["name"]] == package["version"]


@pytest.mark.parametrize("package", VENDORED, ids=lambda package: package["name"])
def test_a_vendored_package_is_as_it_was_fetched_and_has_its_licence(package: dict) -> None:
    for file in package["files"]:
        content = (PAGE / "vendor" / file["name"]).read_bytes()
        assert hashlib.sha256(content).hexdigest() == file["sha256"], file["name"]
    assert package["licence"] in ("MIT", "Apache-2.0")
    text = (PAGE / "vendor" / package["licence_file"]).read_text()
    assert "Copyright" in text
    assert ("Permission is hereby granted" in text) or ("Apache License" in text)


def test_every_vendored_file_is_listed() -> None:
    listed = {file["name"] for package in VENDORED for file in package["files"]}
    licences = {package["licence_file"] for package in VENDORED}
    there = {path.name for path in (PAGE / "vendor").iterdir()}
    assert there == listed | licences | {"vendor.json"}


def test_all_that_a_browser_loads_of_the_page_stays_small() -> None:
    loaded = [path for path in PAGE.rglob("*") if path.suffix in (".html", ".css", ".js", ".svg")]
    assert sum(len(gzip.compress(path.read_bytes(), 6)) for path in loaded) <= MAX_BYTES
