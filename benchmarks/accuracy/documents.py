"""Puts a measurement's tables into the documents, between the comments that name them.

<!-- accuracy: NAME -->
what was there is replaced
<!-- end -->
"""

import re
from collections.abc import Sequence
from pathlib import Path

import tangent
from benchmarks.accuracy import names
from benchmarks.accuracy.outcome import Record, where
from benchmarks.accuracy.protocols import CLASSES, NAMES
from benchmarks.accuracy.reaches import groups, reaches
from benchmarks.accuracy.results import Results
from benchmarks.accuracy.tables import Rows, columns, grid, markdown

ROOT = Path(__file__).parents[2]
DOCUMENTS = (ROOT / "README.md", ROOT / "docs" / "measured.md", ROOT / "docs" / "why-joint.md")
BLOCK = re.compile(r"(<!-- accuracy: ([a-z0-9-]+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)
GAP = "*not measured*"
PARTIES = 5  # of the headline
WHOLE = {"digits": "digits", "fashion-mnist": "Fashion-MNIST"}
BREAK = 124  # characters of a line of prose


def render(results: Results, documents: Sequence[Path] = DOCUMENTS) -> list[Path]:
    """Write every document that has blocks; return the documents."""
    found = blocks(results)
    written = []
    for path in documents:
        text = path.read_text()
        new = filled(text, found)
        if BLOCK.search(text):
            path.write_text(new)
            written.append(path)
    return written


def filled(text: str, found: dict[str, str]) -> str:
    """Return the text with the blocks filled in; a missing measurement is named as missing."""
    return BLOCK.sub(lambda m: f"{m[1]}{spaced(found.get(m[2], GAP))}\n{m[4]}", text)


def spaced(block: str) -> str:
    """A table needs an empty line before it, as the comment belongs to what is above."""
    return f"\n{block}\n" if block.startswith("|") else block


def blocks(results: Results) -> dict[str, str]:
    """Every block by its name; documents may name others, which were not measured."""
    records = results.records
    found = {
        "about": about(results),
        "headline": headline(results),
        "backbones": markdown(backbones(records)),
        "reaches": markdown(
            [["aim", "wanted", "measured", ""]]
            + [[r.aim, r.wanted, r.measured, r.verdict] for r in reaches(records, results.costs)]
        ),
        "costs": markdown(spent(results)),
    }
    for group in groups(records):
        name = f"{group[0].pictures}-{group[0].backbone}".replace("+", "-")
        for protocol in NAMES:
            of = [each for each in columns(group) if each[0] == protocol]
            if of:
                rows = grid(where(group, protocol=protocol), of)
                found[f"{name.replace('_', '-')}-{protocol}"] = markdown(rows)
    return found


def about(results: Results) -> str:
    """The command, the machine and the images."""
    sets = "; ".join(
        f"{name}: {n['labels']} labels, {n['train']} training and {n['test']} test images"
        for name, n in results.pictures.items()
    )
    return wrapped(
        f"`{results.command}` ({results.seconds / 60:.0f} minutes on {results.machine}). {sets}. "
        "Percent of the test images, mean ± deviation over seeds, each of which draws four fifths "
        "of the training images and deals them anew."
    )


def headline(results: Results) -> str:
    """The README's sentence."""
    shares = {}
    for method in (names.JOINT, names.AVERAGE):
        shares[method] = [
            f"{100 * record.accuracy:.1f} % on {shown}"
            for name, shown in WHOLE.items()
            for record in _default(results.records, name, method)
        ]
    return wrapped(
        f"by `make bench-accuracy`: {PARTIES} parties with labels of their "
        "own, composed by `joint` at `head2toe`, equal training on all images together: "
        f"{', '.join(shares[names.JOINT])}; `average`: {', '.join(shares[names.AVERAGE])}."
    )


def _default(records: Sequence[Record], pictures: str, method: str) -> list[Record]:
    """Return the default space's figure, or None if it was not measured."""
    case = dict(pictures=pictures, backbone="resnet_micro_32", scope="head2toe", method=method)
    return where(records, protocol=CLASSES, parties=PARTIES, **case)


def backbones(records: Sequence[Record]) -> Rows:
    """The choice of the default space: every backbone and scope on the headline's protocol."""
    methods = (names.JOINT_TRAINING, names.JOINT, names.AVERAGE, names.PAPERS_AVERAGE)
    rows = [["images", "backbone", "scope", *methods]]
    found = where(records, protocol=CLASSES, parties=PARTIES)
    for group in groups(found):
        for scope in dict.fromkeys(r.scope for r in group if r.scope in tangent.SCOPES):
            cells = [where(group, scope=scope, method=method) for method in methods]
            shown = [cell[0].shown if cell else "–" for cell in cells]
            where_ = [group[0].pictures, f"`{group[0].backbone}`", f"`{scope}`"]
            rows.append([*where_, *shown])
    return rows


def spent(results: Results) -> Rows:
    """Return the table of the costs of answering and composing."""
    answer, joint = results.costs["answer"], results.costs["joint"]
    seconds = answer["seconds"]
    rows = [["what", "cost"]]
    for scope in ("head", "head2toe", "last-block"):
        ratio = seconds[scope] / seconds["plain"]
        rows.append([f"an answer at `{scope}`, {answer['backbone']}", f"{ratio:.2f} plain passes"])
    rows.append(["an answer of an ensemble of T models", "T plain passes"])
    named = f"{joint['components']} components, {joint['width']} features"
    for key, what in (
        ("compose", f"composing {named}, from files"),
        ("compose_loaded", f"composing {named}, already loaded"),
        ("remove", "removing one of them"),
        ("remove_image", "removing one image from its component, which is solved anew"),
    ):
        if key in joint:
            rows.append([what, f"{1000 * joint[key]:.0f} ms"])
    return rows


def wrapped(text: str) -> str:
    """Prose in lines."""
    lines, line = [], ""
    for word in text.split():
        if line and len(line) + 1 + len(word) > BREAK:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}".strip()
    return "\n".join([*lines, line])
