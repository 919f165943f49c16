"""Components' files taken apart with safetensors alone, and put together again."""

import dataclasses
import json
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from tangent import Component
from tests.support.models import trained


def parts(component: Component, folder: Path) -> tuple[dict, dict[str, Tensor]]:
    """The metadata and the tensors of a component's file, read with safetensors alone."""
    path = folder / "parts.safetensors"
    path.write_bytes(component.to_bytes())
    with safe_open(path, framework="pt") as file:
        tensors = {key: file.get_tensor(key) for key in list(file.keys())}
        return json.loads(file.metadata()["tangent"]), tensors


def plain(scope: str) -> Component:
    """A component whose file keeps its sums as float64, as all did before there were grids."""
    return dataclasses.replace(trained(scope), grid=None)


def load(data: bytes, folder: Path) -> Component:
    path = folder / "some.safetensors"
    path.write_bytes(data)
    return Component.load(path)


def written(about, tensors: dict[str, Tensor]) -> bytes:
    """A file of these parts; text goes in as it is."""
    text = about if isinstance(about, str) else json.dumps(about)
    return save(tensors, {"tangent": text})
