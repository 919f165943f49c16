"""Write every figure to `docs/figures`."""

from pathlib import Path

from documentation.figures import histories, ledger, nouns, parties, tangent_line

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "figures"
DRAWN = {
    "nouns": nouns.svg,
    "tangent": tangent_line.svg,
    "parties": parties.svg,
    "histories": histories.svg,
    "ledger": ledger.svg,
}


def main() -> None:
    """Write the files."""
    FOLDER.mkdir(exist_ok=True)
    for name, svg in DRAWN.items():
        (FOLDER / f"{name}.svg").write_text(svg())


if __name__ == "__main__":
    main()
