"""Commands run in this process, against a live service with a dataset of pets."""

import io
import json
import zipfile

import pytest

from tangent_composer.cli.program import main
from tests.support.images import archive


@pytest.fixture
def tangent(service, capsys, monkeypatch):
    """Runs a command; returns its status, its output and its errors."""
    monkeypatch.setenv("TANGENT_URL", service.url)
    monkeypatch.setenv("TANGENT_API_KEY", service.settings.api_key)

    def run(*arguments: object) -> tuple[int, str, str]:
        status = main([str(each) for each in arguments])
        return status, *capsys.readouterr()

    return run


@pytest.fixture
def pets(tmp_path, service, tangent):
    """A folder of pets, the id of its dataset and that of its ready component."""
    folder = tmp_path / "pets"
    with zipfile.ZipFile(io.BytesIO(archive({"cat": 6, "dog": 6}))) as packed:
        packed.extractall(folder)
    dataset = json.loads(tangent("upload", folder, "--json")[1])["id"]
    component = json.loads(tangent("train", dataset, "--no-wait", "--json")[1])
    if component["status"] != "ready":
        service.train(component["id"])
    return folder, dataset, component["id"]
