"""A component and its file: versioned safetensors; the same content gives the same bytes.

Tensors: `delta.head` (K, D), `delta.backbone.<parameter>`, `statistics.gram` (packed upper
triangle), `statistics.sums` and, at block scopes, `statistics.cross`. Metadata: one JSON object
under the key `tangent`. In format 3 it names the features' `grid`, and the triangle is kept in
whole units of it, packed as in `whole_numbers` (`statistics.gram`, `statistics.widths`).
"""

import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from tangent.components import grid_runs
from tangent.components.file_header import header_of, metadata_of
from tangent.components.hyperparameters import RANGES
from tangent.components.lineage import Derivation
from tangent.components.mapped_tensors import mapped
from tangent.components.privacy import Privacy
from tangent.components.statistics import CompactTriangle, Statistics
from tangent.components.whole_numbers import checked
from tangent.errors import BadComponent
from tangent.vocabulary import is_scope

FORMAT = 2  # 1 had features off the grid and no statistics at block scopes
COMPACT_FORMAT = 3  # of components with a grid
HEAD, BACKBONE = "delta.head", "delta.backbone."
GRAM, SUMS, CROSS = "statistics.gram", "statistics.sums", "statistics.cross"
WIDTHS = "statistics.widths"
PACKED = GRAM, WIDTHS  # of compact triangles, in integers
EXACT = HEAD, GRAM, SUMS, CROSS  # in float64: sums that were rounded once may still be on the grid
MAX_IMAGES = 2**53  # of one label: float64 counts exactly up to here


@dataclass(frozen=True)
class Component:
    """A tangent vector delta in one space, with its data's label counts and its settings.

    Its tensors are on the CPU, on whatever device it was trained or is served.
    """

    fingerprint: str
    scope: str
    labels: dict[str, int]  # label -> images, sorted; the labels of its own dataset
    head_labels: tuple[str, ...]  # rows of `head`, sorted: its own and the declared ones
    head: Tensor  # (K, D) float64
    backbone: dict[str, Tensor]  # parameter -> direction, sorted; empty at linear scopes
    statistics: Statistics | None  # rule `joint` needs them; a file may be sent without
    hyperparameters: dict[str, Any] = field(default_factory=dict)
    seed: int = 0
    derived: Derivation | None = None  # merged from other components, then without statistics
    privacy: dict[str, Any] | None = None  # its terms, see tangent.components.privacy
    grid: grid_runs.Runs | None = None  # of the features, where the file keeps whole units

    def to_bytes(self) -> bytes:
        """The bytes of the component's file."""
        tensors = {HEAD: self.head} | {BACKBONE + k: v for k, v in sorted(self.backbone.items())}
        if self.statistics is not None:
            tensors |= _triangle(self.statistics, self.grid) | {SUMS: self.statistics.sums}
            if self.statistics.cross is not None:
                tensors[CROSS] = self.statistics.cross
        about = {
            "format": FORMAT if self.grid is None else COMPACT_FORMAT,
            "fingerprint": self.fingerprint,
            "scope": self.scope,
            "labels": dict(sorted(self.labels.items())),
            "head_labels": list(self.head_labels),
            "hyperparameters": self.hyperparameters,
            "seed": self.seed,
        }
        if self.derived is not None:
            about["derived"] = self.derived.as_dict()
        if self.privacy is not None:
            about["privacy"] = self.privacy
        if self.grid is not None:
            about["grid"] = self.grid
        # One entry only: the order of several is not defined by the format's writer.
        metadata = {"tangent": json.dumps(about, sort_keys=True, ensure_ascii=False)}
        return save({k: v.detach().cpu().contiguous() for k, v in tensors.items()}, metadata)

    def save(self, path: Path) -> str:
        """Write the file whole or not at all; return the SHA-256 of its bytes."""
        data = self.to_bytes()
        partial = path.with_name(path.name + ".partial")
        try:
            with partial.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
        return hashlib.sha256(data).hexdigest()

    @classmethod
    def load(cls, path: Path, *, directions_checked: bool = True) -> "Component":
        """Map and check a component's file; its tensors keep the map open.

        Without `directions_checked` the backbone's directions are not checked: a sum that reads
        them refuses NaN and Inf itself.

        Raises:
            BadComponent: the file is not safetensors, has another format, or lacks a finite tensor.
        """
        header, begin = header_of(path)
        tensors = mapped(path, header, begin)
        about = _about(header)
        del header["__metadata__"]
        _check_numbers(header.keys(), tensors, directions_checked)
        return _assemble(about, tensors)


def _triangle(statistics: Statistics, grid: grid_runs.Runs | None) -> dict[str, Tensor]:
    """Return the tensors of G: whole units where the grid has them, else float64."""
    compact = None if grid is None else statistics.compact(grid_runs.steps(grid))
    if compact is None:  # sums over several views of an image may be off the grid
        return {GRAM: statistics.packed}
    return {GRAM: compact.units.words, WIDTHS: compact.units.widths}


def _about(header: dict[str, Any]) -> dict[str, Any]:
    """Return the metadata entry of a file with this header, checked."""
    try:
        about: dict[str, Any] = metadata_of(header, "tangent")
        version = about["format"]
    except BadComponent:
        raise
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise BadComponent("the file has no `tangent` metadata: it is not a component") from error
    if type(version) is not int or version != (COMPACT_FORMAT if "grid" in about else FORMAT):
        raise BadComponent(
            f"the component has format {version!r}, this version reads {FORMAT}, and "
            f"{COMPACT_FORMAT} with a grid: train it again"
        )
    kinds = {"fingerprint": str, "scope": str, "labels": dict, "head_labels": list, "seed": int}
    for key, kind in (kinds | {"hyperparameters": dict}).items():
        if type(about.get(key)) is not kind:  # true is an int as well
            raise BadComponent(f"the component's metadata has no {kind.__name__} {key!r}")
    if not is_scope(about["scope"]):
        raise BadComponent("no scope is called what the component's metadata calls its scope")
    counts = about["labels"].values()
    if not counts or not all(type(n) is int and 0 < n < MAX_IMAGES for n in counts):
        raise BadComponent("the component's labels must each have a positive number of images")
    names = about["head_labels"]
    if not all(isinstance(n, str) for n in names) or names != sorted(set(names)):
        raise BadComponent("the component's head labels are not sorted and distinct text")
    if not set(about["labels"]) <= set(names):
        raise BadComponent("the component has a label without a head row")
    return about


def _check_numbers(names: Iterable[str], tensors: dict[str, Tensor], directions: bool) -> None:
    """Raise BadComponent for NaN, Inf and other types than floats; packed integers may pass."""
    for key in sorted(names):
        tensor = tensors.get(key)
        is_whole = tensor is not None and not tensor.is_floating_point()
        if is_whole and key in PACKED:
            continue  # checked as a triangle
        unseen = key.startswith(BACKBONE) and not directions
        if tensor is None or is_whole or not (unseen or _finite(tensor)):
            raise BadComponent(f"tensor {key} holds NaN, Inf or no 16, 32 or 64 bit floats")


def _finite(tensor: Tensor) -> bool:
    """True if all entries are finite; the two extremes show it ten times faster than a mask."""
    return not tensor.numel() or all(torch.isfinite(end) for end in torch.aminmax(tensor))


def _assemble(about: dict[str, Any], tensors: dict[str, Tensor]) -> Component:
    """Return the component of checked metadata and tensors."""
    head = tensors.get(HEAD)
    if head is None or head.ndim != 2 or len(head) != len(about["head_labels"]):
        raise BadComponent(f"tensor {HEAD} must have one row for each of the head's labels")
    labels = dict(sorted(about["labels"].items()))
    derived = Derivation.read(about["derived"]) if "derived" in about else None
    grid = grid_runs.checked(about["grid"], head.shape[1]) if "grid" in about else None
    statistics = _statistics(tensors, labels, head.shape[1], about["hyperparameters"], grid)
    if derived and statistics:
        raise BadComponent("a component made of others cannot have statistics of its own data")
    for key in EXACT:
        is_compact = key == GRAM and WIDTHS in tensors
        if key in tensors and tensors[key].dtype != torch.float64 and not is_compact:
            raise BadComponent(f"tensor {key} must hold 64 bit floats: a cast rounds its numbers")
    return Component(
        fingerprint=about["fingerprint"],
        scope=about["scope"],
        labels=labels,
        head_labels=tuple(about["head_labels"]),
        head=head,
        backbone={
            k.removeprefix(BACKBONE): v
            for k, v in sorted(tensors.items())
            if k.startswith(BACKBONE)
        },
        statistics=statistics,
        hyperparameters=about["hyperparameters"],
        seed=about["seed"],
        derived=derived,
        privacy=Privacy.read(about["privacy"]).as_dict() if "privacy" in about else None,
        grid=grid,
    )


def _read_triangle(
    tensors: dict[str, Tensor], width: int, grid: grid_runs.Runs | None
) -> Tensor | CompactTriangle:
    """Return the upper triangle of a (width, width) matrix."""
    packed, widths, count = tensors.get(GRAM), tensors.get(WIDTHS), width * (width + 1) // 2
    if packed is not None and widths is not None:
        if grid is None:
            raise BadComponent(f"tensor {WIDTHS} needs a grid in the component's metadata")
        return CompactTriangle(checked(count, widths, packed), grid_runs.steps(grid))
    if packed is None or packed.shape != (count,):
        raise BadComponent(f"tensor {GRAM} must hold the {count} entries of a triangle")
    return packed


def _statistics(
    tensors: dict[str, Tensor],
    labels: dict[str, int],
    width: int,
    hyperparameters: dict[str, Any],
    grid: grid_runs.Runs | None,
) -> Statistics | None:
    sums = tensors.get(SUMS)
    if sums is None and tensors.keys().isdisjoint(PACKED):
        return None
    triangle = _read_triangle(tensors, width, grid)
    if sums is None or sums.shape != (len(labels), width):
        raise BadComponent(f"tensor {SUMS} must have the shape {(len(labels), width)}")
    cross = tensors.get(CROSS)
    blocks = any(key.startswith(BACKBONE) for key in tensors)
    if blocks and (cross is None or cross.shape != (width, width - 1)):
        raise BadComponent(f"tensor {CROSS} must have the shape {(width, width - 1)}")
    for key in ("beta", "l2"):  # the joint rule reads them
        value: Any = hyperparameters.get(key)
        low, high = RANGES[key]
        if type(value) not in (int, float) or not low <= value <= high:
            raise BadComponent(f"hyperparameter {key} is not a number from {low} to {high}")
    counts = {name: float(n) for name, n in labels.items()}
    return Statistics(
        triangle=triangle,
        sums=sums,
        counts=counts,
        cross=cross if blocks else None,
    )
