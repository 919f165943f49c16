"""The index of the documentation: `docs/index.md` read, and the site's navigation made of it."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence

ROW = re.compile(r"^\| \[([^\]]+)\]\(([^)]+)\) \|.*\|$")
LEFT_OUT = ("Drawings",)  # shown on the pages
Entry = tuple[str, str]  # title and file


def sections(index: str) -> Iterator[tuple[str, list[Entry]]]:
    """Yield each section's title with the titles and files of its rows."""
    for part in index.split("\n## ")[1:]:
        title, _, rest = part.partition("\n")
        found = [ROW.match(line) for line in rest.splitlines()]
        entries = [(row[1], row[2]) for row in found if row]
        if entries and title not in LEFT_OUT:
            yield title, entries


def with_rows(index: str, after: Mapping[str, Sequence[tuple[str, str, str]]]) -> str:
    """Return the index with more rows (title, file, sentence) after those of some files."""
    lines = []
    for line in index.splitlines():
        lines.append(line)
        row = ROW.match(line)
        for title, file, sentence in after.get(row[2], ()) if row else ():
            lines.append(f"| [{title}]({file}) | {sentence} |")
    return "\n".join(lines) + "\n"


def navigation(index: str, below: Mapping[str, Sequence[Entry]]) -> str:
    """Return the value of `nav` in TOML; `below` has the pages that belong to one file."""
    lines = ['  { "Overview" = "index.md" },']
    for title, entries in sections(index):
        inner = ", ".join(_entry(entry, below.get(entry[1], ())) for entry in entries)
        lines.append(f"  {{ {json.dumps(title)} = [{inner}] }},")
    return "\n".join(["[", *lines, "]"])


def _entry(entry: Entry, more: Sequence[Entry]) -> str:
    title, file = entry
    if not more:
        return f"{{ {json.dumps(title)} = {json.dumps(file)} }}"
    inner = ", ".join(_entry(each, ()) for each in more)
    return f"{{ {json.dumps(title)} = [{json.dumps(file)}, {inner}] }}"
