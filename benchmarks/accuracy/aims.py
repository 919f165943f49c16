"""The aims of trust, next to what the parts of `make bench-accuracy` have last measured."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks.accuracy import last_block, names, statistics_bytes, uneven
from benchmarks.accuracy.reaches import Reach
from benchmarks.interleaved import RESULTS

Found = dict[str, Any]
EVEN, UNEVEN = 0.05, 0.13  # of the calibration error


def aims(results: Path = RESULTS) -> list[Reach]:
    """Return all aims; of a part without results, one that says so."""
    shown = []
    for name, of in AIMS:
        source = results / f"{name}.json"
        found = json.loads(source.read_text()) if source.is_file() else {}
        shown += of(found)
    return shown


def novelty(found: Found) -> list[Reach]:
    """Foreign pictures told by novelty, after even training."""
    shares = [each["novelty_roc"] for each in found.get("cases", []) if each["even"]]
    return [
        Reach(
            "foreign images, area under the ROC curve of novelty, cells of backbone, scope and set",
            "≥ 0.95 in all",
            f"{min(shares):.3f} to {max(shares):.3f} in {len(shares)} cells" if shares else "–",
            min(shares) >= 0.95 if shares else None,
        )
    ]


def calibration(found: Found) -> list[Reach]:
    """The calibration error on Fashion-MNIST."""
    cases = [c for c in found.get("cases", []) if c["images"] == "fashion-mnist"]
    even = [case["calibration_error"] for case in cases if case["even"]]
    rare = [case for case in cases if not case["even"]]
    alike = [case["calibration_error_discriminant"] for case in rare]
    return [
        Reach(
            "expected calibration error on Fashion-MNIST, evenly trained by `joint` · unevenly "
            "trained by `discriminant`, test images even, worst cell",
            f"≤ {EVEN} · ≤ {UNEVEN}",
            f"{max(even):.3f} · {max(alike):.3f}" if even and alike else "–",
            max(even) <= EVEN and max(alike) <= UNEVEN if even and alike else None,
        ),
        Reach(
            "the same, unevenly trained by `joint`, test images as uneven · even",
            f"≤ {UNEVEN} · ≤ {UNEVEN}",
            _worst(rare, "_as_trained") + " · " + _worst(rare, ""),
            max(case["calibration_error"] for case in rare) <= UNEVEN if rare else None,
        ),
    ]


def _worst(cases: list[Found], kind: str) -> str:
    errors = [case[f"calibration_error{kind}"] for case in cases]
    return f"{max(errors):.3f}" if errors else "–"


def balance_and_penalty(found: Found) -> list[Reach]:
    """Uneven labels, and the default penalty."""
    records = found.get("records", [])
    balanced = [uneven.balance_gap(r) for r in records if r["images"] == uneven.UNEVEN_SIZE]
    own = [uneven.penalty_gap(r) for r in records if r["images"] != uneven.UNEVEN_SIZE]
    return [
        Reach(
            "balanced accuracy at imbalance 0.6^j of `discriminant` against the best of joint, LDA "
            f"and class means, {len(balanced)} cells",
            "worst ≥ −1, mean ≥ 0",
            f"worst {min(balanced):+.1f}, mean {mean(balanced):+.1f}" if balanced else "–",
            min(balanced) >= -1 and mean(balanced) >= 0 if balanced else None,
        ),
        Reach(
            f"the default penalty against scikit-learn's best on the same features, {len(own)} "
            "cells of set, size and evenness",
            "worst ≥ −1",
            f"worst {min(own):+.1f}, mean {mean(own):+.1f}" if own else "–",
            min(own) >= -1 if own else None,
        ),
    ]


def photographs(found: Found) -> list[Reach]:
    """Cats and dogs by the backbone for photographs."""
    wanted = {
        "pictures": "photographs",
        "backbone": last_block.BACKBONE,
        "scope": "head2toe",
        "rule": "joint",
        "l2": "default",
    }
    rows = [r for r in found.get("accuracies", []) if all(r[k] == v for k, v in wanted.items())]
    share = mean(rows[0]["accuracies"]) if rows else None
    return [
        Reach(
            "two kinds of photographs, 5 parties, the defaults for photographs, `joint`",
            "≥ 99 %",
            "–" if share is None else f"{100 * share:.1f} %",
            None if share is None else share >= 0.99,
        )
    ]


def blocks(found: Found) -> list[Reach]:
    """The last block, of the photographs' backbone."""
    rows = [r for r in found.get("rows", []) if r["backbone"] == last_block.BACKBONE]
    shot = last_block.differences(rows, names.ONE_SHOT, last_block.JOINT)
    tuned = last_block.differences(rows, last_block.JOINT, last_block.TUNED)
    return [
        Reach(aim, "≥ −3", listed(points), min(points.values()) >= -3 if points else None)
        for aim, points in (
            ("one shot at the last block against joint training, photographs' backbone", shot),
            (
                "the last block's tangent against fine-tuning the block, photographs' backbone",
                tuned,
            ),
        )
    ]


def bytes_of_statistics(found: Found) -> list[Reach]:
    """A component of a ViT-B at `head2toe`."""
    rows = found.get("rows", [])
    sizes = [r["statistics"] / 1e6 for r in rows if r["backbone"] == statistics_bytes.LARGE]
    others = [statistics_bytes.of_large(r) for r in rows]
    return [
        Reach(
            "bytes of statistics of a ViT-B component at `head2toe` (59 MB in float64)",
            "≤ 25 MB",
            f"{max(sizes, default=0):.1f} MB; by the bits of other backbones' features "
            f"{min(others):.1f} to {max(others):.1f} MB"
            if others
            else "–",
            max([*sizes, *others]) <= 25 if others else None,
        )
    ]


def listed(points: dict[str, float]) -> str:
    """Return the points by name."""
    return "; ".join(f"{name} {value:+.1f}" for name, value in points.items()) or "–"


AIMS: Sequence[tuple[str, Callable[[Found], list[Reach]]]] = (  # the file of a part -> its aims
    ("calibration", novelty),
    ("calibration", calibration),
    ("uneven", balance_and_penalty),
    ("photographs", photographs),
    ("last_block", blocks),
    ("statistics_bytes", bytes_of_statistics),
)
