"""The notebook docs/tour.ipynb runs from nothing to a verified receipt, with its plots."""

import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from app.cli.demo.service import started

TOUR = Path(__file__).resolve().parent.parent / "docs" / "tour.ipynb"


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_the_tour_gets_from_nothing_to_a_verified_receipt(tmp_path, monkeypatch):
    notebook = nbformat.read(TOUR, as_version=4)
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")
    monkeypatch.delenv("TANGENT_API_KEY", raising=False)
    (tmp_path / "service").mkdir()
    with started(tmp_path / "service") as url:
        monkeypatch.setenv("TANGENT_URL", url)
        NotebookClient(notebook, timeout=120, kernel_name="python3", cwd=tmp_path).execute()

    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    shown = [output["data"] for output in outputs if "data" in output]
    said = "".join(output.get("text", "") for output in outputs)
    assert sum("image/png" in data for data in shown) == 2
    assert sum("text/html" in data and "<table" in data["text/html"] for data in shown) == 3
    assert "answers of rule joint are no sum over the components" in said
    assert "1 receipts hold; left of what was deleted: nothing" in said
    assert "ask the service" in said
    assert "{'2', '3'}" in "".join(data.get("text/plain", "") for data in shown)


def test_the_tour_is_kept_without_outputs():
    for cell in nbformat.read(TOUR, as_version=4).cells:
        assert not cell.get("outputs") and cell.get("execution_count") is None
    assert os.path.getsize(TOUR) < 20_000
