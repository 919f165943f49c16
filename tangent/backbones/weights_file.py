"""A local weights file: its header against the shapes of an architecture, and its configuration.

Both cost next to nothing, so they come before the architecture is made, which may take gigabytes.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from tangent.errors import BackboneUnavailable

MAX_CONFIGURATION = 2**20  # bytes


def is_file(path: Path) -> bool:
    """True if an ordinary file lies there; a name that no file can have is False too."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def check_fit(path: Path, architecture: str, wanted: Mapping[str, Tensor]) -> None:
    """Check the shapes in the file's header against the wanted tensors, of which no values count.

    Raises:
        BackboneUnavailable: the file lacks tensors, has others under their names, or is no
            safetensors file.
    """
    held = _shapes(path, architecture)
    lacking = [key for key in wanted if key not in held]
    if lacking:
        raise BackboneUnavailable(f"{path} lacks {len(lacking)} tensors, {lacking[0]} first")
    for key, tensor in wanted.items():
        if held[key] != tuple(tensor.shape):
            raise BackboneUnavailable(
                f"{path} does not hold weights of {architecture}: {key} has shape "
                f"{list(held[key])} in the file, {list(tensor.shape)} in the architecture"
            )


def _shapes(path: Path, architecture: str) -> dict[str, tuple[int, ...]]:
    try:
        with safe_open(path, framework="pt") as file:
            return {key: tuple(file.get_slice(key).get_shape()) for key in list(file.keys())}
    except SafetensorError as error:
        raise BackboneUnavailable(
            f"{path} does not hold weights of {architecture}: {error}"
        ) from error


def configuration(path: Path) -> dict[str, Any]:
    """Read what lies beside the weights: `<stem>.json` or else `config.json`, or nothing.

    Raises:
        BackboneUnavailable: the file there is no JSON object, or too long for one of timm.
    """
    beside = (path.with_suffix(".json"), path.parent / "config.json")
    for candidate in beside:
        if is_file(candidate):
            return _read(candidate)
    return {}


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            text = file.read(MAX_CONFIGURATION + 1)
        if len(text) > MAX_CONFIGURATION:
            raise BackboneUnavailable(f"{path} is no configuration of timm: it is too long")
        config = json.loads(text)
    except (ValueError, RecursionError) as error:
        if isinstance(error, BackboneUnavailable):
            raise
        kind = type(error).__name__  # its text may quote the file
        raise BackboneUnavailable(f"{path} is no configuration of timm ({kind})") from error
    if not isinstance(config, dict):
        raise BackboneUnavailable(f"{path} is no configuration of timm: it holds no JSON object")
    return config
