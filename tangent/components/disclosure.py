"""The contents of a component's file, in words: all that leaves with it, and what it tells.

    told = disclosed(path)
    told.tensors[0].words       "the change of the head that makes the model: …"

Whoever sends a file decides by this; docs/what-a-file-reveals.md has the reasons.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tangent.components.component import BACKBONE, CROSS, GRAM, HEAD, SUMS, WIDTHS, Component
from tangent.components.file_header import header_of

DERIVED = "it was made of other components, so no image was looked at for it"


@dataclass(frozen=True)
class Leaving:
    """One tensor or member of the metadata."""

    name: str
    shape: list[int]  # empty for metadata
    bytes: int
    words: str


@dataclass(frozen=True)
class Disclosure:
    """Everything in one file."""

    file: str
    bytes: int
    fingerprint: str
    tensors: list[Leaving]
    metadata: list[Leaving]
    labels: dict[str, int]
    smallest_label: str | None
    smallest_images: int | None  # groups, where privacy is about these
    statistics: bool
    privacy: dict[str, Any] | None
    warnings: list[str]


def disclosed(path: Path, few: int = 10) -> Disclosure:
    """Return what the file tells, with a warning for labels of fewer than `few` images.

    Raises:
        BadComponent: it is no component's file.
    """
    component = Component.load(path)
    header, _ = header_of(path)
    header.pop("__metadata__")
    tensors = [_tensor(name, header[name], component) for name in sorted(header)]
    counted = component.derived is None and bool(component.labels)
    images, smallest = min((n, name) for name, n in component.labels.items())
    return Disclosure(
        file=str(path),
        bytes=path.stat().st_size,
        fingerprint=component.fingerprint,
        tensors=tensors,
        metadata=list(_metadata(component)),
        labels=component.labels,
        smallest_label=smallest if counted else None,
        smallest_images=images if counted else None,
        statistics=component.statistics is not None,
        privacy=component.privacy,
        warnings=list(_warnings(component, few)),
    )


def _tensor(name: str, about: dict[str, Any], component: Component) -> Leaving:
    start, end = about["data_offsets"]
    words = _words(name, list(about["shape"]), component)
    return Leaving(name, list(about["shape"]), end - start, words)


def _words(name: str, shape: list[int], component: Component) -> str:
    noisy = ", with noise of the privacy below" if component.privacy else ""
    unit = _unit(component)
    if name == HEAD:
        return (
            f"δ of the head: {shape[1]} weights for each of {shape[0]} labels, the solution of all "
            f"images together{noisy}"
        )
    if name.startswith(BACKBONE):
        parameter = name.removeprefix(BACKBONE)
        return f"δ of the backbone's {parameter}: its change by all images together"
    if name == GRAM:
        return (
            f"the Gram matrix: the sum of the products of every two features over all {unit}s; by "
            f"it features that go together are known, and rule joint adds components{noisy}"
        )
    if name == WIDTHS:
        return "how many bits each run of numbers of the Gram matrix takes"
    if name == SUMS:
        return (
            f"for each label the sum of its {unit}s' feature vectors: of a label with one {unit}, "
            f"the features of that {unit}{noisy}"
        )
    if name == CROSS:
        return "the sum of products of the features with the answers of the trained block"
    return "a tensor that this version does not know: no service takes it"


def _metadata(component: Component) -> Iterator[Leaving]:
    rounded = ", with noise" if component.privacy else ", exactly"
    about = {
        "fingerprint": "a hash of the space: of public weights and declared labels",
        "scope": f"{component.scope}: which parameters are trained",
        "labels": f"the names of labels, and how many {_unit(component)}s each has{rounded}",
        "head_labels": "the names of labels with a row, the declared ones among them",
        "hyperparameters": "the settings of the training"
        + (", with the l2 that the images chose" if _is_chosen(component) else ""),
        "seed": "the seed of the training",
    }
    if component.grid is not None:
        about["grid"] = "the units in which the sums are kept: of the space"
    if component.derived is not None:
        about["derived"] = "the operator, and the hashes and weights of the components it is of"
    if component.privacy is not None:
        about["privacy"] = "the promise, with the amount of noise: epsilon, delta, unit, labels"
    for name, words in about.items():
        yield Leaving(name, [], 0, words)


def _unit(component: Component) -> str:
    """Return what is counted: images, or groups of them where the promise is about groups."""
    return str(component.privacy["unit"]) if component.privacy else "image"


def _is_chosen(component: Component) -> bool:
    return bool(component.hyperparameters.get("choose_l2"))


def _warnings(component: Component, few: int) -> Iterator[str]:
    if component.derived is not None:
        yield f"{DERIVED}; what those tell, it tells mixed"
        return
    if component.privacy is not None:
        terms = component.privacy
        yield (
            f"private: with and without any one {terms['unit']} it comes out alike, but for a "
            f"factor of e^{terms['epsilon']:g} and a chance of {terms['delta']:g}; each further "
            "component of the same images adds to that"
        )
        return
    for name, count in sorted(component.labels.items(), key=lambda each: (each[1], each[0])):
        if count < few:
            what = "the features of its one image" if count == 1 else f"a sum of only {count}"
            told = what if component.statistics is not None else "little hides each of them"
            yield f"label {name!r} has {count} image{'s' * (count > 1)}: {told}"
    if component.statistics is not None:
        yield (
            "this file and one of the same images but one tell that image's features together: do "
            "not send both, or send files without statistics"
        )
