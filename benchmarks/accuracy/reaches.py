"""The aims next to the measurements."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import tangent
from benchmarks.accuracy import names
from benchmarks.accuracy.outcome import Record, best, difference, where
from benchmarks.accuracy.protocols import CLASSES

EXACT = 1e-8  # of logits, relative


@dataclass(frozen=True)
class Reach:
    """One aim; `met` is None where nothing was measured for it."""

    aim: str
    wanted: str
    measured: str
    met: bool | None

    @property
    def verdict(self) -> str:
        """One word or two."""
        return {True: "reached", False: "not reached", None: "not measured"}[self.met]


def reaches(records: Sequence[Record], costs: dict[str, Any]) -> list[Reach]:
    """Return all aims with what was measured."""
    return [
        exactness(records),
        *blocks(records),
        *over_others(records),
        over_fine_tuning(records),
        *papers_order(records),
        *quick_composing(costs),
    ]


def exactness(records: Sequence[Record]) -> Reach:
    """`joint` at the linear scopes against joint training, over all that was measured."""
    points, gaps, cases = 0.0, [0.0], 0
    for record in records:
        if record.scope in tangent.LINEAR and record.method in names.PARAGONS:
            paragon = same_case(records, record, names.PARAGONS[record.method])
            points = max(points, abs(difference(record, paragon)))
            gaps.append(record.gap or 0.0)
            cases += len(record.accuracies)
    return Reach(
        "`joint` at `head`, `head2toe` against joint training, any protocol, labels known or late, "
        "penalty given or chosen",
        "0.0 points, logits to 1e-8",
        f"{points:.1f} points, logits to {max(gaps):.0e} ({cases} cases)",
        points == 0 and max(gaps) <= EXACT if cases else None,
    )


def same_case(records: Sequence[Record], record: Record, method: str) -> Record:
    """Another method on the same case and scope."""
    keys = ("pictures", "backbone", "protocol", "parties", "scope")
    case = {key: getattr(record, key) for key in keys}
    return where(records, method=method, **case)[0]


def blocks(records: Sequence[Record]) -> Iterator[Reach]:
    """`joint` at a block against its paragon, ten parties with labels of their own."""
    for method, bound in ((names.REFINED, 0.5), (names.ONE_SHOT, 3.0)):
        found = where(records, method=method, protocol=CLASSES, parties=10)
        lost = {
            r.pictures: -difference(r, same_case(records, r, names.JOINT_TRAINING)) for r in found
        }
        yield Reach(
            f"`{method}` at the last block below its joint training, class-incremental T = 10",
            f"≤ {bound:g} points",
            listed({name: f"{points:.1f}" for name, points in lost.items()}),
            max(lost.values()) <= bound if lost else None,
        )


def listed(values: dict[str, str]) -> str:
    """By set of images."""
    return "; ".join(f"{name} {value}" for name, value in values.items()) or "–"


def over_others(records: Sequence[Record]) -> Iterator[Reach]:
    """The best `joint` over the best other method that answers in one pass, T = 10."""
    for what, left_out in (
        ("that merges models", (*names.REFERENCES, *names.SIMPLE)),
        ("of any kind, with the simple heads on sums of features", names.REFERENCES),
    ):
        won: dict[str, tuple[float, str]] = {}
        for group in groups(where(records, protocol=CLASSES, parties=10)):
            ours = best([r for r in group if r.method in names.JOINTS])
            others = [r for r in group if r.method not in (*names.JOINTS, *left_out)]
            theirs = best([r for r in others if r.passes == 1])
            if ours and theirs:
                won[title(ours)] = difference(ours, theirs), theirs.method
        yield Reach(
            f"best `joint` over the best one-pass method {what}, class-incremental T = 10",
            "≥ +10 points",
            listed({name: f"{points:+.1f} ({method})" for name, (points, method) in won.items()}),
            min(points for points, _ in won.values()) >= 10 if won else None,
        )


def groups(records: Sequence[Record]) -> list[list[Record]]:
    """By images and backbone."""
    grouped: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        grouped.setdefault((record.pictures, record.backbone), []).append(record)
    return list(grouped.values())


def title(record: Record) -> str:
    """Its images and backbone."""
    return f"{record.pictures}, {record.backbone}"


def over_fine_tuning(records: Sequence[Record]) -> Reach:
    """The best `joint` against fine-tuning the network on the pooled images."""
    won: dict[str, float] = {}
    for group in groups(where(records, protocol=CLASSES)):
        tuned = where(group, method=names.POOLED)
        ours = best([r for r in group if r.method in names.JOINTS])
        if tuned and ours:
            won[title(ours)] = difference(ours, tuned[0])
    return Reach(
        "best `joint` over fine-tuning the last block itself on the pooled images",
        "≥ −1 point",
        listed({name: f"{points:+.1f}" for name, points in won.items()}),
        min(won.values()) >= -1 if won else None,
    )


def papers_order(records: Sequence[Record]) -> Iterator[Reach]:
    """The papers' average over soup and ensemble of fine-tuned models, five parties."""
    found = where(records, protocol=CLASSES, parties=5)
    for name, methods in (("soup", (names.SOUP,)), ("ensemble", names.ENSEMBLES)):
        won: dict[str, float] = {}
        for record in where(found, method=names.PAPERS_AVERAGE):
            if record.scope in tangent.LINEAR:
                continue
            theirs = best([same_case(found, record, method) for method in methods])
            assert theirs is not None
            won[title(record)] = difference(record, theirs)
        yield Reach(
            f"`average` by the papers' recipe over the {name}, class-incremental T = 5",
            "the papers' order",
            listed({name: f"{points:+.1f}" for name, points in won.items()}),
            min(won.values()) > 0 if won else None,
        )


def quick_composing(costs: dict[str, Any]) -> Iterator[Reach]:
    """Seconds of composing and removing at `head2toe` of a ViT-S."""
    joint = costs.get("joint", {})
    for what, key, bound in (
        ("composing {components} components under `joint`, {width} features", "compose", 2.0),
        ("removing one of them", "remove", 0.2),
        ("removing one image from its component", "remove_image", 0.05),
    ):
        seconds = joint.get(key)
        yield Reach(
            what.format_map({"components": 100, "width": 1921} | joint),
            f"≤ {1000 * bound:g} ms",
            "–" if seconds is None else f"{1000 * seconds:.0f} ms",
            None if seconds is None else seconds <= bound,
        )
