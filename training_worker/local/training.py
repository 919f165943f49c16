"""A training from a space's card and images to a component's file, as the service trains it.

    made = train(LocalTraining(card, data, output, seed=0))

The same images, settings and seed give the same bytes as the service's own training, if this
machine computes the service's bits (`same_bits`).
"""

import errno
import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

import tangent
from app.archives.groups import names_of
from app.errors import DiskFull, Invalid
from tangent.components.privacy import NO_GROUPS, private_settings
from tangent.components.without_statistics import write_without_statistics
from tangent.errors import BadPrivacy
from tangent.spaces.card import Card, open_card, read_card
from tangent_composer import metrics_file
from tangent_composer.folders import SCRATCH
from tangent_composer.labels import fault, tidy
from training_worker import fitting
from training_worker.local.images import Bounds, TrainingImages, training_images
from training_worker.source import Entry

Report = Callable[[dict[str, Any]], None]
MAX_SEED = 2**63 - 1  # as the service's
MAX_THREADS = 1024


@dataclass(frozen=True)
class LocalTraining:
    """The paths and settings of one training.

    labels: of a private training, public; those of the data if there are none.
    min_per_label: with fewer images of a label nothing is written.
    """

    card: Path
    data: Path
    output: Path
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    privacy: Mapping[str, Any] | None = None  # epsilon, delta, mechanism, unit
    labels: tuple[str, ...] = ()
    min_per_label: int = 0
    statistics: bool = True
    metrics: bool = True  # are they written beside the file
    code_page: str | None = None
    bounds: Bounds = field(default_factory=Bounds)
    device: str = "cpu"
    threads: int = 0
    scratch: Path | None = None  # a folder for copies of the images; that of the output if none


@dataclass(frozen=True)
class LocalComponent:
    """A component's file, and what was found and measured; nothing of it but the files leaves."""

    file: str
    sha256: str
    bytes: int
    metrics_file: str | None
    space: str
    fingerprint: str
    same_bits: bool  # does this machine compute the service's bits
    labels: dict[str, int]  # training images of each; if it is private, of its unit, with noise
    splits: dict[str, int]  # images by split, where they have one
    rejected: list[dict[str, str]]
    num_rejected: int
    duplicates: int
    warnings: list[str]
    hyperparameters: dict[str, Any]
    seed: int
    statistics: bool
    privacy: dict[str, Any] | None
    metrics: dict[str, Any]


def train(training: LocalTraining, report: Report = lambda _: None) -> LocalComponent:
    """Train a component; write its file whole or not at all, and its metrics beside it.

    Raises:
        Problem: as `training_images`; Invalid `too_few_images`, `no_folder`, `bad_setting`.
        TangentError: as `read_card`, `open_card`, `Privacy.resolve` and `tangent.fit`.
    """
    _check(training)
    card = read_card(training.card)
    if training.threads:
        torch.set_num_threads(training.threads)
    settings = resolved(card.scope, training)  # before anything that takes long
    folder = training.scratch or training.output.parent
    if not folder.is_dir() or not training.output.parent.is_dir():
        raise Invalid("no_folder", f"there is no folder {str(folder)!r}: make it, or name another")
    space, same_bits = open_card(card, device=training.device)
    try:
        with TemporaryDirectory(dir=folder, prefix=SCRATCH) as scratch:
            return _trained(training, card, settings, (space, same_bits), Path(scratch), report)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise DiskFull(
            "disk_full", f"the disk of {str(folder)!r} has no room left: name another --scratch"
        ) from error


def _check(training: LocalTraining) -> None:
    """Refuse settings that cannot be, before anything is read.

    Raises:
        Invalid: `bad_setting`, `too_many_labels`.
    """
    bounds = {
        "seed": (training.seed, MAX_SEED),
        "threads": (training.threads, MAX_THREADS),
        "min_per_label": (training.min_per_label, MAX_SEED),
    }
    for name, (value, most) in bounds.items():
        if not 0 <= value <= most:
            raise Invalid("bad_setting", f"{name} is {value}: give a number from 0 to {most}")
    if training.labels and training.privacy is None:
        raise Invalid("bad_setting", "labels are named for a private training: give epsilon too")
    if len(training.labels) > training.bounds.max_labels:
        raise Invalid(
            "too_many_labels",
            f"{len(training.labels)} labels are named, the most is {training.bounds.max_labels}",
        )
    for label in training.labels:
        if why := fault(tidy(label)):
            raise Invalid("bad_setting", f"the label {label!a} {why}: name those of the folders")
    output = training.output
    if not output.name or output.is_dir():
        raise Invalid("bad_setting", f"{str(output)!r} is a folder: name a file to write")
    for path in (training.card, output, training.scratch or output.parent):
        if not _is_text(str(path)):
            raise Invalid("bad_setting", f"the path {str(path)!a} is not in UTF-8: rename it")


def _is_text(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:  # bytes of its own system, which libraries cannot open
        return False
    return True


def resolved(scope: str, training: LocalTraining) -> tangent.Hyperparameters:
    """Return the settings, completed by the scope's defaults, and check the terms of privacy.

    Raises:
        BadHyperparameter, BadPrivacy: they are not allowed.
    """
    if training.privacy is None:
        return tangent.Hyperparameters.resolve(scope, dict(training.hyperparameters))
    tangent.Privacy.resolve(dict(training.privacy), training.labels or ("any",))
    if training.min_per_label:
        raise Invalid(
            "too_few_images",
            "min_per_label counts images without noise, which a private training never tells: "
            "leave it out, as epsilon bounds what any image tells",
        )
    return private_settings(scope, training.hyperparameters)


def _trained(
    training: LocalTraining,
    card: Card,
    hyperparameters: tangent.Hyperparameters,
    opened: tuple[tangent.Space, bool],
    scratch: Path,
    report: Report,
) -> LocalComponent:
    space, same_bits = opened
    report({"phase": "images", "step": 0, "total": 0, "loss": None, "eta_seconds": None})
    with training_images(training.data, scratch, training.bounds, training.code_page) as images:
        check_counts(images.counts, training.min_per_label)
        privacy = None
        if training.privacy is not None:
            labels = [tidy(label) for label in training.labels] or list(images.counts)
            privacy = tangent.Privacy.resolve(dict(training.privacy), labels)
            if privacy.unit == "group":
                check_groups(images.entries)
        settings = fitting.Settings(hyperparameters.as_dict(), training.seed, privacy)
        progress = fitting.Reporter(report)
        made = fitting.fit(
            space, images.entries, images.pack, settings, training.bounds, scratch, progress
        )
        return _written(training, card, images, made, same_bits)


def check_counts(counts: Mapping[str, int], least: int) -> None:
    """Refuse data with a label of fewer images.

    Raises:
        Invalid: `too_few_images`.
    """
    few = sorted((count, label) for label, count in counts.items() if count < least)
    if few:
        listed = ", ".join(f"{label!r} has {count}" for count, label in few[:5])
        raise Invalid(
            "too_few_images",
            f"{len(few)} labels have fewer than {least} images ({listed}): a sum of few images "
            "tells much of each; add images, merge labels, or train with --epsilon",
        )


def check_groups(entries: Sequence[Entry]) -> None:
    """Refuse a promise about groups of data that has none, or an image in two of them.

    Raises:
        BadPrivacy: as the service refuses it.
    """
    if all(entry.group is None for entry in entries):
        raise BadPrivacy(NO_GROUPS)
    groups: dict[str, str | None] = {}
    for entry in entries:
        first = groups.setdefault(entry.sha256, entry.group)
        if first != entry.group or len(names_of(entry.group)) > 1:
            raise BadPrivacy(
                f"the image {entry.path!r} is in two groups, so a promise about one of them would "
                "not hold for it: put it into one"
            )


def _written(
    training: LocalTraining,
    card: Card,
    images: TrainingImages,
    made: tangent.TrainingResult,
    same_bits: bool,
) -> LocalComponent:
    output, component = training.output, made.component
    saved = fitting.saved(made, output if training.statistics else images.pack.with_name("whole"))
    sha256, size = saved["sha256"], saved["bytes"]
    if not training.statistics:
        sha256, size = leave_out_statistics(Path(saved["file"]), output)
    beside = metrics_file.path_of(output)
    beside.unlink(missing_ok=True)
    if training.metrics:
        metrics_file.write(output, sha256, saved["metrics"])
    upload = images.upload
    return LocalComponent(
        file=str(output),
        sha256=sha256,
        bytes=size,
        metrics_file=str(beside) if training.metrics else None,
        space=card.name,
        fingerprint=card.fingerprint,
        same_bits=same_bits,
        labels=dict(component.labels),
        splits=upload.splits,
        rejected=upload.rejected.listed,
        num_rejected=upload.rejected.count,
        duplicates=upload.duplicates,
        warnings=upload.warnings,
        hyperparameters=component.hyperparameters,
        seed=component.seed,
        statistics=training.statistics,
        privacy=component.privacy,
        metrics=saved["metrics"],
    )


def leave_out_statistics(component: Path, output: Path) -> tuple[str, int]:
    """Write a component's file without its statistics; return its SHA-256 and its bytes."""
    partial = output.with_name(output.name + ".partial")
    try:
        with component.open("rb") as whole, partial.open("wb") as file:
            sha256 = write_without_statistics(whole, file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(output)
    finally:
        partial.unlink(missing_ok=True)
    return sha256, output.stat().st_size


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
