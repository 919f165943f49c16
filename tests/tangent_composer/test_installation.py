"""What users install: one name to import, three sizes, and nothing taken from their own code."""

import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import httpx
import pytest

from tests.support.wheel import ROOT, environment_beside

MAX_MEGABYTES = 60  # of 10^6 bytes, as installers without bytecode (uv, pip --no-compile) put them
USERS_OWN = 'NAME = "the user\'s own app"\n'
LOADED = """
import sys
import tangent_composer
from tangent_composer import AsyncClient, Client
import tangent_composer.cli.program
print(sorted({"torch", "numpy", "timm", "fastapi", "tangent", "app"} & set(sys.modules)))
"""


def run(*command: object, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a folder, without the repository on its path."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("TANGENT_", "PYTHON"))}
    return subprocess.run(
        list(map(str, command)),
        cwd=cwd,
        env=kept | {"TANGENT_THREADS": "1", "TANGENT_SCOPE": "head"} | variables,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory, wheel: Path) -> Path:
    """An environment of its own with the wheel and what it needs without any extra."""
    folder = tmp_path_factory.mktemp("base")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    command = [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python"), "install"]
    # Told of another interpreter, pip still sees what is installed beside itself.
    command += ["--ignore-installed", "--quiet", "-c", str(ROOT / "constraints.txt"), str(wheel)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280)
    if done.returncode and not os.environ.get("CI"):
        pytest.skip(f"packages cannot be installed here: {done.stderr.splitlines()[-1:]}")
    assert done.returncode == 0, done.stderr
    return folder


def test_client_and_command_line_alone_are_small(base):
    packages = next(base.glob("lib/python*/site-packages"))
    assert {"tangent_composer", "httpx", "typer"} <= {path.name for path in packages.iterdir()}
    files = [path for path in packages.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    assert sum(path.stat().st_size for path in files) <= MAX_MEGABYTES * 10**6


def test_the_base_install_loads_neither_torch_nor_the_service(base, tmp_path):
    done = run(base / "bin" / "python", "-c", LOADED, cwd=tmp_path)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


def test_importing_the_package_loads_none_of_its_dependencies(base, tmp_path):
    code = "import sys, tangent_composer; print({'httpx', 'pydantic', 'rich'} & set(sys.modules))"
    assert run(base / "bin" / "python", "-c", code, cwd=tmp_path).stdout.strip() == "set()"


def test_a_command_that_needs_more_names_the_extra(base, tmp_path):
    done = run(base / "bin" / "tangent", "serve", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("tangent: serve: this needs fastapi, sqlalchemy, dbos: pip")
    assert "pip install 'tangent-composer[serve]'" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_the_version_is_that_of_the_project(base, tmp_path):
    shown = run(base / "bin" / "tangent", "--version", cwd=tmp_path).stdout
    assert shown == f"tangent {version('tangent-composer')}\n"
    code = "import tangent_composer; print(tangent_composer.__version__)"
    assert run(base / "bin" / "python", "-c", code, cwd=tmp_path).stdout.strip() in shown


def test_the_package_takes_one_name_and_no_other(wheel):
    import zipfile

    names = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {name for name in names if not name.endswith(".dist-info")} == {"tangent_composer"}


def test_the_wheel_has_every_file_of_the_page(wheel):
    import zipfile

    page = ROOT / "app" / "page"
    files = [path.relative_to(page) for path in page.rglob("*") if path.is_file()]
    with zipfile.ZipFile(wheel) as archive:
        for path in files:
            name = f"tangent_composer/_bundled/app/page/{path.as_posix()}"
            assert archive.read(name) == (page / path).read_bytes()


def test_an_installed_service_trains_beside_an_app_of_the_users_own(tmp_path, wheel):
    """A user's own `app` lies in the folder that the service is started from."""
    python = environment_beside(tmp_path / "installed", wheel)
    work = tmp_path / "work"
    (work / "app").mkdir(parents=True)
    (work / "app" / "__init__.py").write_text(USERS_OWN)
    digits = run(python, "-m", "tangent_composer.cli", "sample", "digits", "digits", cwd=work)
    assert digits.returncode == 0, digits.stderr
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("TANGENT_", "PYTHON"))}
    serve = subprocess.Popen(
        [str(python), "-c", SERVE, "serve", "--port", "0"],
        cwd=work,
        env=kept | {"TANGENT_THREADS": "1", "TANGENT_SCOPE": "head"},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        url = serve.stdout.readline().split()[-1].removesuffix("/")
        assert httpx.get(f"{url}/readyz", timeout=60).status_code == 200
        assert httpx.get(f"{url}/").text.startswith("<!doctype html>")
        done = run(python, "-c", STORY, cwd=work, TANGENT_URL=url)
        assert done.returncode == 0, done.stderr
        own, label, modules = json.loads(done.stdout)
        assert own == "the user's own app"
        assert label == "0"
        assert modules == []
    finally:
        serve.terminate()
        serve.wait(60)
        serve.stdout.close()


SERVE = "import sys; from tangent_composer.cli.program import main; sys.exit(main())"
STORY = """
import json, sys
import app
from tangent_composer import Client

with Client() as client:
    dataset = client.datasets.upload("digits/0-1.zip")
    client.components.train(dataset.id).wait(timeout=100)
    answer = client.predict("digits/held-out/0-0036.png")
modules = sorted({"tangent", "torch", "training_worker"} & set(sys.modules))
print(json.dumps([app.NAME, answer.labels[0], modules]))
"""
