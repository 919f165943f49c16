"""Clients that others' generators make from the OpenAPI document do the whole story.

Upload, wait, predict, delete, read the receipt, and read an error. What they need is installed in
the system's temporary folder, once for each version of the lists in tests/generated_clients.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.command import environment
from tests.support.images import archive, image
from tests.support.installations import installed, installed_by_npm, run

SOURCES = Path(__file__).parent / "generated_clients"
pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def packages() -> Path:
    """A folder with the packages of package-lock.json."""
    return installed_by_npm("npm", SOURCES)


@pytest.fixture(scope="module")
def python() -> Path:
    """The interpreter of an environment with the packages of requirements.txt."""
    pip = ("bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    folder = installed(
        "python",
        [SOURCES / "requirements.txt"],
        (sys.executable, "-m", "venv", "--copies", "."),
        (*pip, "--require-hashes", "-r", "requirements.txt"),
    )
    return folder / "bin" / "python"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a service with a worker."""
    folder = tmp_path_factory.mktemp("service")
    process = subprocess.Popen(
        [sys.executable, "-m", "app.cli", "serve", "--port", "0", "--data-dir", folder],
        env=environment(),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    yield line.split()[-1].removesuffix("/")
    process.terminate()
    process.wait(60)
    process.stdout.close()


@pytest.fixture(scope="module")
def document(address: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with the document of the service."""
    file = tmp_path_factory.mktemp("document") / "openapi.json"
    file.write_bytes(httpx.get(f"{address}/openapi.json", timeout=60).content)
    return file


@pytest.fixture(scope="module")
def typescript(packages: Path, document: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with both stories in TypeScript, compiled by its strict checks."""
    folder = tmp_path_factory.mktemp("typescript")
    (folder / "node_modules").symlink_to(packages / "node_modules")
    for name in ("package.json", "tsconfig.json", "generate.mjs", "openapi_fetch.ts", "hey_api.ts"):
        shutil.copy(SOURCES / name, folder)
    run("node", "generate.mjs", document, folder, cwd=folder)
    run("node", "node_modules/typescript/bin/tsc", cwd=folder)
    return folder


@pytest.fixture
def images(tmp_path: Path) -> tuple[Path, Path]:
    """An archive of cats and dogs, and a picture of a cat."""
    pets, cat = tmp_path / "pets.zip", tmp_path / "cat.png"
    pets.write_bytes(archive({"cat": 6, "dog": 6}))
    cat.write_bytes(image("cat", 90))
    return pets, cat


TOLD = {
    "num_images": 12,
    "accuracy": 1.0,
    "solver": "cholesky",
    "label": "cat",
    "deleted": True,
    "code": "component_deleted",
}


def test_the_document_has_no_fault_by_the_rules_of_spectral(
    packages: Path, document: Path, tmp_path: Path
) -> None:
    (tmp_path / "rules.yaml").write_text('extends: ["spectral:oas"]\n')
    spectral = packages / "node_modules" / ".bin" / "spectral"
    given = ("--ruleset", tmp_path / "rules.yaml", "--fail-severity", "hint")
    told = run(spectral, "lint", *given, "--format", "json", document, cwd=tmp_path)
    assert json.loads(told[: told.rindex("]") + 1]) == []


@pytest.mark.parametrize("name", ["openapi_fetch", "hey_api"])
def test_a_client_in_typescript_does_the_story(
    typescript: Path, address: str, images: tuple[Path, Path], name: str
) -> None:
    told = run("node", f"built/{name}.js", address, *images, cwd=typescript)
    assert json.loads(told) == TOLD


def test_the_client_of_openapi_python_client_does_the_story(
    python: Path, document: Path, address: str, images: tuple[Path, Path], tmp_path: Path
) -> None:
    generator = python.with_name("openapi-python-client")
    config = SOURCES / "openapi-python-client.yaml"
    generate = ("generate", "--path", document, "--config", config, "--fail-on-warning")
    run(python, generator, *generate, "--meta", "none", cwd=tmp_path)
    shutil.copy(SOURCES / "openapi_python_client.py", tmp_path / "story.py")
    told = run(python, "story.py", address, *images, cwd=tmp_path)
    assert json.loads(told) == TOLD
