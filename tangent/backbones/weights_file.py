"""A local weights file: its header against the shapes of an architecture, and its configuration.

Both cost next to nothing, so they come before the architecture is made, which may take gigabytes.
"""

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from tangent.errors import BackboneUnavailable, WrongWeights

MAX_CONFIGURATION = 2**20  # bytes
MAX_SHOWN = 3  # differences of each kind
WRAPPED = "timm_model."  # before every name, where transformers has saved a model of timm
LICENSE = re.compile(r"[A-Za-z0-9][A-Za-z0-9 .,+()/:_-]{0,99}")

Shape = tuple[int, ...]


def is_file(path: Path) -> bool:
    """True if an ordinary file lies there; a name that no file can have is False too."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def is_folder(path: Path) -> bool:
    """True if a folder lies there; a name that no folder can have is False too."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def unwrapped(name: str) -> str:
    """Return timm's name of a tensor of the file."""
    return name.removeprefix(WRAPPED)


def check_fit(
    path: Path, architecture: str, wanted: Mapping[str, Tensor], classifier: tuple[str, ...] = ()
) -> None:
    """Check the shapes in the file's header against the wanted tensors, of which no values count.

    Tensors of the layers called `classifier`, and others that the architecture has nothing like,
    may be there too; more blocks than it has are another architecture.

    Raises:
        WrongWeights: the file lacks tensors, has others under their names, or has more of them.
        BackboneUnavailable: it is no safetensors file.
    """
    held = {unwrapped(name): shape for name, shape in _shapes(path, architecture).items()}
    needed = {name: tuple(tensor.shape) for name, tensor in wanted.items()}
    kinds = {_kind(name) for name in needed}
    heads = tuple(f"{name}." for name in classifier)
    more = sorted(name for name in held if name not in needed and not name.startswith(heads))
    differences = [
        *_listed("lacks {} tensors, {} first", [name for name in needed if name not in held]),
        *_listed(
            "has {} tensors of other shapes: {}",
            [
                f"{name} has shape {list(held[name])} in the file, {list(shape)} in the "
                "architecture"
                for name, shape in needed.items()
                if held.get(name, shape) != shape
            ],
        ),
        *_listed(
            "has {} tensors more than the architecture, {} first",
            [name for name in more if _kind(name) in kinds],
        ),
    ]
    if differences:
        raise WrongWeights(
            f"{path} does not hold weights of {architecture}: it {'; it '.join(differences)}. Name "
            "the architecture that they were trained with, or convert their names to timm's"
        )


def _kind(name: str) -> str:
    """Return the name without numbers: of all blocks, a tensor has one."""
    return re.sub(r"\d+", "0", name)


def _listed(sentence: str, names: list[str]) -> Iterable[str]:
    if names:
        yield sentence.format(len(names), ", ".join(names[:MAX_SHOWN]))


def _shapes(path: Path, architecture: str) -> dict[str, Shape]:
    try:
        with safe_open(path, framework="pt") as file:
            return {key: tuple(file.get_slice(key).get_shape()) for key in list(file.keys())}
    except SafetensorError as error:
        raise BackboneUnavailable(
            f"{path} does not hold weights of {architecture}: {error}"
        ) from error


def license_of(path: Path, config: Mapping[str, Any]) -> str | None:
    """Return the licence of the weights as the configuration or the file's metadata has it.

    None where neither says one in a short line of ordinary characters.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
    except SafetensorError:  # told where the tensors are read
        metadata = {}
    of_timm = config.get("pretrained_cfg")
    places = (config, of_timm if isinstance(of_timm, dict) else {}, metadata)
    found = (place.get("license") for place in places)
    return next((each for each in found if is_license(each)), None)


def is_license(text: object) -> bool:
    """Return whether this is a licence's name or address that can be shown."""
    return isinstance(text, str) and LICENSE.fullmatch(text) is not None


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
