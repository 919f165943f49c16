"""Writes the tables of some pages of docs/ from what the benchmarks wrote to benchmarks/results/.

    make measured                  (or: python -m benchmarks.measured)

The pages are measured.md, operations.md and sizing.md. A table stands between `<!-- name -->` and
`<!-- /name -->`; the text around is left alone. The charts of serving under load are drawn anew.
"""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks import device
from benchmarks.accuracy import last_block, statistics_bytes
from benchmarks.accuracy import uneven as cells
from benchmarks.battery import figures
from benchmarks.composition import RATIOS, TARGETS
from benchmarks.interleaved import RESULTS
from benchmarks.load import charts, tables
from benchmarks.precision import answer_rows, error_rows, time_rows
from benchmarks.serving import ALONE, FOLDED, MANY, MEMBERS, NARROW, PLAIN, SCOPES
from benchmarks.training import FORWARD, OURS, PAPERS, TUNING

DOCS = Path(__file__).resolve().parent.parent / "docs"
SHORT = {"vit_tiny_patch16_224": "ViT-Ti", "vit_small_patch16_224": "ViT-S"}
MANY_ROW = f"{MANY} compositions, one image, last-block"
SERVING: dict[str, tuple[str, str, str | None]] = {  # row -> way, of which way, reach
    "plain, norms folded, channels last": (FOLDED, PLAIN, None),
    "plain, bfloat16": (NARROW.format(PLAIN), PLAIN, None),
    "plain, norms folded, channels last, bfloat16": (NARROW.format(FOLDED), PLAIN, None),
    "**tangent, `all`**": ("all", PLAIN, "ViT 2.6, ResNet 2.3"),
    "its products alone": (ALONE.format("all"), PLAIN, None),
    "**tangent, `last-3-blocks`**": ("last-3-blocks", PLAIN, "ViT 1.25"),
    "its products alone ": (ALONE.format("last-3-blocks"), PLAIN, None),
    "**tangent, `last-block`**": ("last-block", PLAIN, "ViT 0.95"),
    "its products alone  ": (ALONE.format("last-block"), PLAIN, None),
    "the plain pass's products alone": (ALONE.format(PLAIN), PLAIN, None),
    "`torch.func.jvp`, `all`": ("torch.func.jvp, all", PLAIN, None),
    "`torch.autograd.forward_ad`, `all`": ("torch.autograd.forward_ad, all", PLAIN, None),
    "`torch.func.jvp` / tangent, `all`": ("torch.func.jvp, all", "all", "≥ 1.5"),
    f"{MEMBERS} plain models / tangent, `all`": (f"{MEMBERS} plain models", "all", "≥ 3.5"),
    f"{MEMBERS} plain models / tangent, `last-block`": (
        f"{MEMBERS} plain models",
        "last-block",
        "≥ 10",
    ),
    f"{MEMBERS} models sharing the prefix": (
        f"{MEMBERS} models sharing the prefix, last-block",
        PLAIN,
        None,
    ),
    f"{MANY} compositions of one image, `last-block`": (MANY_ROW, PLAIN, "ViT 1.3"),
}
TRAINING = {
    "plain forward pass of all images": FORWARD,
    "one epoch by the papers' scheme: dual pass of the whole network, autograd through it": PAPERS,
    "one epoch of plain fine-tuning of the same parameters": TUNING,
    "**ours, one epoch of Adam on what is cached**": OURS,
}


def table(rows: list[list[str]]) -> str:
    """Markdown; the first row is the head."""
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])


def serving(found: dict[str, Any]) -> str:
    """One column a model, with a figure for each batch."""
    models = list(dict.fromkeys(each["model"] for each in found["results"]))
    runs = {name: [each for each in found["results"] if each["model"] == name] for name in models}
    head = [
        f"{SHORT.get(name, name)}, {' / '.join(str(run['batch']) for run in runs[name])}"
        for name in models
    ]
    rows = [["", "reach", *head]]
    for title, (way, base, reach) in SERVING.items():
        cells = [_joined(run["ratios"], way, base) for run in _lists(runs, models)]
        rows.append([title.strip(), reach or "", *cells])
    for scope in SCOPES:
        cells = [_multiplied(runs[name], scope) for name in models]
        rows.append([f"multiplications of `{scope}`, in plain passes", "", *cells])
    return f"{_machine(found)}\n\n{table(rows)}"


def _lists(runs: dict[str, list[dict]], models: list[str]) -> Iterator[dict[str, Any]]:
    """Each model's runs as one, its ratios by way in lists."""
    for name in models:
        ways = {way for run in runs[name] for way in run["ratios"]}
        yield {"ratios": {way: [run["ratios"].get(way) for run in runs[name]] for way in ways}}


def _joined(ratios: dict[str, list[float | None]], way: str, base: str) -> str:
    if way not in ratios:
        return "–"
    pairs = zip(ratios[way], ratios[base], strict=True)
    return " / ".join("–" if a is None or b is None else f"{a / b:.3g}" for a, b in pairs)


def _multiplied(runs: list[dict], scope: str) -> str:
    counts = [run.get("multiplications") for run in runs]
    return " / ".join(f"{c[scope] / c[PLAIN]:.2f}" if c else "–" for c in counts)


def training(found: dict[str, Any]) -> str:
    """One column of seconds a model."""
    models = found["results"]
    rows = [["seconds", *(SHORT.get(name, name) for name in models)]]
    for title, way in TRAINING.items():
        rows.append([title, *(f"{about['seconds'][way]:.3g}" for about in models.values())])
    last: list[tuple[str, Callable[[dict], str]]] = [
        ("ours, caching once", lambda about: f"{about['caching']:.3g}"),
        (
            "**ours, to the loss of 50 such epochs by conjugate gradients (steps)**",
            lambda about: f"{about['cg_seconds']:.3g} ({about['cg_steps']})",
        ),
        (
            "papers' epoch / ours (reach: 200)",
            lambda about: f"{about['epoch_ratio']:.0f}",
        ),
        (
            "papers' 50 epochs / ours to that loss, caching included (reach: 100)",
            lambda about: f"{about['training_ratio']:.0f}",
        ),
    ]
    rows += [[title, *(cell(about) for about in models.values())] for title, cell in last]
    return f"{_machine(found)}\n\n{table(rows)}"


def composition(found: dict[str, Any]) -> str:
    """One column a number of components."""
    runs = found["runs"]
    rows = [["", *(f"T = {run['components']}" for run in runs)]]
    for way in runs[0]["milliseconds"]:
        rows.append([way, *(f"{run['milliseconds'][way]:.0f} ms" for run in runs)])
    for name in RATIOS:
        goal = f" (target {TARGETS[name]:g})" if name in TARGETS else ""
        rows.append([name + goal, *(f"{run['ratios'][name]:.2f}" for run in runs)])
    return f"{_machine(found)}, {found['parameters']:,} parameters\n\n{table(rows)}"


def load(found: dict[str, Any]) -> str:
    """Return every table of serving under load."""
    return "\n\n".join([tables.conditions(found), *map(table, tables.complete(found))])


def load_reaches(found: dict[str, Any]) -> str:
    """Return the figures with a reach alone."""
    return f"{tables.conditions(found)}\n\n{table(tables.reached(found))}"


def _machine(found: dict[str, Any]) -> str:
    return f"{found['machine']}; medians of {found['rounds']}"


def battery(found: dict[str, Any]) -> str:
    """One column a database."""
    return f"{found['machine']}\n\n{table(figures.rows(found['databases']))}"


PENALTIES = {"default": "`joint`", "0.1": "`l2` 0.1", "1.0": "`l2` 1", "auto": '`l2` "auto"'}


def photographs(found: dict[str, Any]) -> str:
    """Return one row a set, backbone and scope, with a column a rule or penalty; then the times."""
    cases: dict[tuple[str, str, str], dict[str, str]] = {}
    for each in found["accuracies"]:
        case = cases.setdefault((each["pictures"], each["backbone"], each["scope"]), {})
        column = "`average`" if each["rule"] == "average" else PENALTIES.get(each["l2"])
        if column:
            case[column] = drawn(each["accuracies"])
    columns = [*PENALTIES.values(), "`average`"]
    rows = [["images", "backbone", "scope", *columns]]
    for (pictures, backbone, scope), case in cases.items():
        names = [pictures, f"`{backbone}`", f"`{scope}`"]
        rows.append([*names, *(case.get(column, "–") for column in columns)])
    demos = {each["backbone"]: each["processor_seconds"] for each in found["demo"]}
    times = [["backbone", "50 photographs", "the demo"]]
    for each in found["seconds"]:
        name, demo = each["backbone"], demos.get(each["backbone"])
        shown = "–" if demo is None else f"{demo:.0f} s"
        times.append([f"`{name}`", f"{each['seconds']:.2g} s", shown])
    about = f"`{found['command']}` on {found['machine']}; percent right, mean (lowest … highest)"
    return f"{about}\n\n{table(rows)}\n\nSeconds of the processor:\n\n{table(times)}"


def calibration(found: dict[str, Any]) -> str:
    """Return one row a set, backbone and scope, evenly and unevenly trained."""
    head = [
        *("trained on", "images", "backbone", "scope", "right", "calibration error", "without"),
        *("as uneven as trained", "by `discriminant`"),
        *("foreign by novelty", "by probability", "wrong by margin"),
        *("own / foreign above 0.95", "above 0.99"),
    ]
    rows = [head]
    for each in found["cases"]:
        names = [each["images"], "even" if each["even"] else "uneven"]
        kinds = ("", "_without", "_as_trained", "_discriminant")
        errors = [each.get(f"calibration_error{kind}") for kind in kinds]
        rocs = [each["novelty_roc"], each["probability_roc"], each["margin_roc_of_wrong"]]
        rows.append(
            [
                *names,
                *(f"`{each['backbone']}`", f"`{each['scope']}`", f"{100 * each['accuracy']:.1f}"),
                *("" if value is None else f"{value:.3f}" for value in (*errors, *rocs)),
                *(
                    " / ".join(f"{100 * share:.1f}" for share in shares)
                    for shares in each["abstained"].values()
                ),
            ]
        )
    about = f"`{found['command']}` on {found['machine']}; shares in percent"
    return f"{about}\n\n{table(rows)}"


def drawn(shares: list[float]) -> str:
    """Return a mean in percent, with the range of several draws."""
    mean = f"{100 * sum(shares) / len(shares):.1f}"
    spread = f"{100 * min(shares):.1f} … {100 * max(shares):.1f}"
    return mean if len(shares) == 1 else f"{mean} ({spread})"


def uneven(found: dict[str, Any]) -> str:
    """Return the aims with what was measured, and the accuracies of every cell."""
    records = found["records"]
    about = f"`{found['command']}` on {found['machine']}; means of the draws, in percent"
    parts = [about, table(cells.reached(records))]
    for title, what in (
        ("Labels as often as in training", "own"),
        ("Labels equally often", "balanced"),
    ):
        parts += [f"{title}:", table(cells.table(records, what))]
    return "\n\n".join(parts)


def last_block_table(found: dict[str, Any]) -> str:
    """Return the accuracies at the last block."""
    about = f"`{found['command']}` on {found['machine']}; percent, {found['seeds']} draws"
    return f"{about}\n\n{table(last_block.table(found['rows']))}"


def bytes_table(found: dict[str, Any]) -> str:
    """Return the bytes of statistics."""
    about = f"`{found['command']}` on {found['machine']}"
    return f"{about}\n\n{table(statistics_bytes.table(found['rows']))}"


def precision_tables(found: dict[str, Any]) -> str:
    """Return the errors of answers in 16 bits, and what they do to answers."""
    about = f"{found['machine']}, images of noise a model: {found['images']}"
    kinds = ("errors", error_rows), ("answers", answer_rows), ("times", time_rows)
    tables = [table(rows(found[kind])) for kind, rows in kinds if found.get(kind)]
    return "\n\n".join([about, *tables])


PAGES: dict[str, dict[str, Callable[[dict[str, Any]], str]]] = {  # page -> result -> its table
    "measured.md": {
        "uneven": uneven,
        "photographs": photographs,
        "calibration": calibration,
        "last_block": last_block_table,
        "statistics_bytes": bytes_table,
        "serving": serving,
        "training": training,
        "composition": composition,
        "precision": precision_tables,
        "device": lambda found: "\n\n".join(map(table, device.tables(found))),
    },
    "operations.md": {"battery": battery},
    "sizing.md": {"load": load, "load_on_epyc": load_reaches},
}


def rendered(name: str, results: Path = RESULTS, text: str | None = None) -> str:
    """Return the page, or the text in its place, with the tables of the results that are there."""
    page = (DOCS / name).read_text() if text is None else text
    for result, make in PAGES[name].items():
        source = results / f"{result}.json"
        if source.is_file():
            made = f"<!-- {result} -->\n{make(json.loads(source.read_text()))}\n<!-- /{result} -->"
            pattern = f"<!-- {result} -->.*?<!-- /{result} -->"
            page, count = re.subn(pattern, made.replace("\\", r"\\"), page, flags=re.S)
            assert count == 1, f"docs/{name} has {count} places for {result}"
    return page


def main() -> None:
    """Write the pages, and draw the charts."""
    for name in PAGES:
        (DOCS / name).write_text(rendered(name))
    source = RESULTS / "load.json"
    if source.is_file():
        charts.draw(json.loads(source.read_text()), DOCS)


if __name__ == "__main__":
    main()
