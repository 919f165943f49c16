"""A space's card: one safetensors file with all that a machine needs to train in the space.

    sha256 = write_card(space, "default", path)          at the service
    card = read_card(path)                               what it says; reads no weights
    space, same_bits = open_card(card)                   checked, to train in

Tensors: `backbone.<parameter or buffer>`, and `probe`: the features of the hash images (see
`reproducibility`), by which the reader finds out whether it computes as the service does.
Metadata: one JSON object under the key `tangent_card`. The same space gives the same bytes.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, BinaryIO

import torch
from safetensors.torch import load_file
from torch import Tensor

from tangent.backbones.from_tensors import backbone_of, check_architecture
from tangent.components.file_header import header_of, metadata_of
from tangent.errors import BadCard, BadComponent, FingerprintMismatch, ProbeMismatch
from tangent.spaces.heads import read
from tangent.spaces.opening import space_of
from tangent.spaces.reproducibility import environment, hash_images
from tangent.spaces.space import Space
from tangent.vocabulary import is_scope

FORMAT = 1
KEY = "tangent_card"  # of the metadata
BACKBONE, PROBE = "backbone.", "probe"
TOLERANCE = 0.01  # of the probe's root mean square; other kernels differ by a thousandth of that
TYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


@dataclass(frozen=True)
class Card:
    """The description of a space in its card."""

    name: str
    fingerprint: str
    backbone: str  # the service's name of it
    architecture: str  # timm's
    settings: dict[str, Any]  # of the preprocessing, as timm has them
    scope: str
    linear: bool  # is the output linear in features that do not move, so that `joint` is exact
    declared_labels: list[str]
    steps: list[float]  # of the features' grid, each once; none at block scopes
    image_size: int
    features: int  # that the head reads, the constant among them
    parameters: int
    license: str | None
    environment: str  # hardware and libraries of the service
    path: Path | None = None

    @property
    def about(self) -> dict[str, Any]:
        """The members by name, as JSON values, without the path."""
        return {name: value for name, value in asdict(self).items() if name != "path"}


def write_card(space: Space, name: str, path: Path, probe: Tensor | None = None) -> str:
    """Write the card of a space of this name; return the SHA-256 of its bytes.

    Raises:
        BadCard: the backbone was not built by timm under a name, so nobody else can build it.
    """
    if not space.pretrained.architecture:
        raise BadCard(f"the backbone {space.backbone} has no name by which timm builds it")
    state = {BACKBONE + key: value for key, value in space.model.state_dict().items()}
    tensors = state | {PROBE: probe_of(space) if probe is None else probe}
    about = {"format": FORMAT} | described(space, name).about
    metadata = {KEY: json.dumps(about, sort_keys=True, ensure_ascii=False)}
    with path.open("wb") as file:
        return _write(file, tensors, metadata)


def described(space: Space, name: str) -> Card:
    """Return the description of a space that has this name."""
    steps = [] if space.grid is None else sorted(set(space.grid.steps.tolist()))
    return Card(
        name=name,
        fingerprint=space.fingerprint,
        backbone=space.backbone,
        architecture=space.pretrained.architecture,
        settings=space.pretrained.settings,
        scope=space.scope,
        linear=space.joint_is_exact,
        declared_labels=list(space.declared),
        steps=steps,
        image_size=space.image_size,
        features=space.readout_width,
        parameters=space.parameters_total,
        license=space.license,
        environment=environment(space.device),
    )


@torch.inference_mode()
def probe_of(space: Space) -> Tensor:
    """Return the features (8, D) float64 of the hash images, as a training sees them."""
    images = hash_images(space.image_size).to(space.device, space.dtype)
    if space.engine is None:
        return space.readout_alone(images).double().cpu()
    return read(space.engine, space.engine.rows(images), [])[0].cpu()


def read_card(path: Path) -> Card:
    """Return what a card says; its weights are not read.

    Raises:
        BadCard: the file is no card, or of another version.
        BackboneUnavailable: this version of timm does not know its architecture.
    """
    try:
        header, _ = header_of(path)
        about: dict[str, Any] = metadata_of(header, KEY)
        version = about.pop("format")
    except BadComponent as error:
        raise BadCard(f"{path} is no card of a space: {error}") from error
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise BadCard(
            f"{path} is no card of a space: get one by `tangent space get NAME -o {path.name}`"
        ) from error
    if version != FORMAT:
        raise BadCard(f"the card has format {version!r}, this version reads {FORMAT}: update")
    kinds = {"settings": dict, "declared_labels": list, "steps": list, "linear": bool}
    kinds |= dict.fromkeys(("image_size", "features", "parameters"), int)
    for each in fields(Card):
        if each.name in ("path", "license"):
            continue
        if type(about.get(each.name)) is not kinds.get(each.name, str):
            raise BadCard(f"the card's metadata has no {each.name!r} as a card has it")
    if not is_scope(about["scope"]):
        raise BadCard("no scope is called what the card calls its scope")
    check_architecture(about["architecture"])
    known = {each.name for each in fields(Card)} - {"path"}
    return Card(**{name: about.get(name) for name in known}, path=path)  # type: ignore[arg-type]


def open_card(card: Card, *, device: str = "cpu") -> tuple[Space, bool]:
    """Open the space of a card; also return whether this machine computes the service's bits.

    Raises:
        BadCard: the tensors cannot be read.
        FingerprintMismatch: it opens with another fingerprint here.
        ProbeMismatch: it answers the probe otherwise here.
        TangentError: as `backbone_of` and `Space`.
    """
    assert card.path is not None
    try:
        tensors = load_file(card.path)
    except Exception as error:  # the format's errors have many types
        raise BadCard(f"{card.path} cannot be read: {error}; get the card again") from error
    probe = tensors.pop(PROBE, None)
    state = {key.removeprefix(BACKBONE): value for key, value in tensors.items()}
    backbone = backbone_of(card.backbone, card.architecture, state, card.settings, card.license)
    labels, known = card.declared_labels, card.fingerprint
    space = space_of(backbone, card.scope, labels, device=device, fingerprint=known)
    if space.fingerprint != card.fingerprint:
        raise FingerprintMismatch(
            f"the card is of the space {card.fingerprint[:12]}…, and opens as "
            f"{space.fingerprint[:12]}… here ({environment(space.device)}; the service has "
            f"{card.environment}): nothing trained here would fit; get the card again, or install "
            "the service's versions"
        )
    return space, _same_bits(card, space, probe)


def _same_bits(card: Card, space: Space, probe: Tensor | None) -> bool:
    found = probe_of(space)
    if probe is None or probe.shape != found.shape:
        raise BadCard(f"{card.path} has no answer to the probe: get the card again")
    off = (found - probe).square().mean().sqrt().item()
    if not off <= TOLERANCE * probe.square().mean().sqrt().item():  # also for NaN
        raise ProbeMismatch(
            f"this machine answers the card's probe otherwise ({environment(space.device)}; the "
            f"service has {card.environment}): nothing trained here would fit; install the "
            "service's versions, or train on another device"
        )
    return torch.equal(found, probe)


def _write(file: BinaryIO, tensors: Mapping[str, Tensor], metadata: dict[str, str]) -> str:
    """Write a safetensors file, one tensor in memory at a time; return its SHA-256."""
    ordered = sorted(tensors.items(), key=lambda each: (-each[1].dtype.itemsize, each[0]))
    header: dict[str, Any] = {"__metadata__": metadata}
    end = 0
    for name, tensor in ordered:
        start, end = end, end + tensor.numel() * tensor.dtype.itemsize
        kind, shape = TYPES[tensor.dtype], list(tensor.shape)
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    digest = hashlib.sha256()
    for piece in (len(text).to_bytes(8, "little"), text):
        digest.update(piece)
        file.write(piece)
    for _, tensor in ordered:
        data = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data
        digest.update(data)
        file.write(data)
    file.flush()
    os.fsync(file.fileno())
    return digest.hexdigest()
