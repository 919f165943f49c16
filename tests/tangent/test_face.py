"""The package's face: its names, where they come from, and what importing them loads."""

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import tangent

NAMES = {
    "Component",
    "Delta",
    "Hyperparameters",
    "LINEAR",
    "Privacy",
    "Progress",
    "RULES",
    "SCOPES",
    "Space",
    "TrainingResult",
    "accepted",
    "changed",
    "compose",
    "downdated",
    "environment",
    "errors",
    "fit",
    "load_backbone",
    "open_space",
    "renamed",
    "restated",
    "share",
    "shipped_backbones",
    "without",
}


def loaded_by(code: str) -> set[str]:
    """The modules of a fresh interpreter after this code."""
    answer = subprocess.run(
        [sys.executable, "-c", f"import sys\n{code}\nprint(*sys.modules)"],
        cwd=Path(tangent.__file__).parent.parent,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert answer.returncode == 0, answer.stderr
    return set(answer.stdout.split())


def test_the_package_offers_these_names():
    assert set(tangent.__all__) == NAMES
    assert set(dir(tangent)) >= NAMES
    assert all(getattr(tangent, name) is not None for name in NAMES)


def test_type_checkers_see_the_names_that_are_there_at_run_time():
    tree = ast.parse(Path(tangent.__file__).read_text())
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    seen = {(node.module, name.asname) for node in block.body for name in node.names}

    assert {name for _, name in seen} == NAMES
    for module, name in seen - {("tangent", "errors")}:
        assert getattr(tangent, name) is getattr(import_module(module), name)


def test_a_name_that_the_package_lacks_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'tangent' has no attribute 'fitt'"):
        tangent.fitt  # noqa: B018


@pytest.mark.parametrize("module", ["tangent", "tangent.vocabulary", "tangent.errors"])
def test_what_needs_no_tensors_loads_no_torch(module):
    loaded = loaded_by(f"import {module}")

    assert module in loaded
    assert not {"torch", "timm", "numpy"} & loaded


def test_a_name_is_loaded_when_it_is_used():
    loaded = loaded_by("import tangent\ntangent.Delta")

    assert {"torch", "tangent.components.delta"} <= loaded
    assert "tangent.training.fit" not in loaded
