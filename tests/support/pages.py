"""The README and the pages of the documentation, taken apart into their blocks of code.

What a test needs to know of a block stands before it in a comment, which readers do not see:

    <!-- not run: reason -->      it is parsed, and not run, for this reason
    <!-- refused: code -->        the service refuses what the block asks for, with this code
    <!-- prints: text -->         what the block prints has this text
    <!-- schema: Name -->         the JSON fits this schema of docs/openapi.json
    <!-- serves -->               the block runs a service, which answers from then on
    <!-- service ends -->         the page's service is ended before the block
    <!-- postgres -->             the page needs a database, which it calls SHOWN_DATABASE
    <!-- run first                shell commands, up to the end of the comment, that make what the
    …                             page speaks of
    -->

`<!-- service: none -->` says that the page needs no service, or runs its own.
Of alternatives, between `<!-- tabs -->` and `<!-- /tabs -->`, a reader takes one column.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import dedent

from documentation.markup import TABS, TITLE

ROOT = Path(__file__).resolve().parent.parent.parent
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.glob("*.md"))]
SHELL = ("bash", "sh")
DATA = ("caddy", "ini", "json", "nginx", "toml", "yaml")
PLAIN = ("mermaid", "text")  # drawings, formulas, what something prints
FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.M | re.S)
PARTS = re.compile(
    r"<!--(?P<comment>.*?)-->|^ *```(?P<language>\w*)\n(?P<code>.*?)^ *```$", re.M | re.S
)
MARK = re.compile(
    r"\s*(not run|refused|prints|schema|serves|service ends|service|postgres)(?:: (.*?))?\s*", re.S
)
PREPARATION = re.compile(r"\s*run first\n(.*)", re.S)


@dataclass(frozen=True)
class Block:
    """A block of code, or the preparation of the page, with its marks."""

    page: Path
    line: int  # of its fence, counted from 1
    language: str
    code: str
    marks: dict[str, str] = field(default_factory=dict)
    shown: bool = True
    column: str | None = None  # of the alternatives that it stands among

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def reason(self) -> str | None:
        """Return the reason for not running it, if there is one."""
        return self.marks.get("not run")

    @property
    def runs(self) -> bool:
        """Return whether a test runs it."""
        return self.language in (*SHELL, "python") and self.reason is None

    def prints(self) -> list[str]:
        """The texts that its output must have."""
        return [text for name, text in self.marks.items() if name.startswith("prints")]


def blocks(page: Path) -> list[Block]:
    """Return the page's blocks in their order, preparations among them."""
    return list(_blocks(page, page.read_text()))


def columns(page: Path) -> list[str | None]:
    """Return the columns of alternatives that a reader may take, or None where there are none."""
    found = dict.fromkeys(block.column for block in blocks(page) if block.column and block.runs)
    return [*found] or [None]


def without_blocks(text: str) -> str:
    """Return the text with its blocks of code emptied and its comments left out."""
    return re.sub(r"<!--.*?-->", "", FENCE.sub("```\n```", text), flags=re.S)


def has_service(page: Path) -> bool:
    """Return whether the page speaks to a service that is there already."""
    return "<!-- service: none -->" not in page.read_text()


def has_database(page: Path) -> bool:
    """Return whether the page works with a Postgres database."""
    return "<!-- postgres -->" in page.read_text()


def _blocks(page: Path, text: str) -> Iterator[Block]:
    marks: dict[str, str] = {}
    starts = list(_starts_of_columns(text))
    for found in PARTS.finditer(text):
        line = text.count("\n", 0, found.start()) + 1
        if found["comment"] is None:
            column = next((name for start, name in reversed(starts) if start < found.start()), None)
            code = dedent(found["code"])
            yield Block(page, line, found["language"], code, marks, column=column)
            marks = {}
        elif preparation := PREPARATION.fullmatch(found["comment"]):
            yield Block(page, line, "bash", preparation[1], marks, shown=False)
            marks = {}
        elif mark := MARK.fullmatch(found["comment"]):
            name = mark[1] if mark[1] not in marks else f"{mark[1]} {len(marks)}"
            marks[name] = mark[2] or ""


def _starts_of_columns(text: str) -> Iterator[tuple[int, str | None]]:
    """Yield where each column of alternatives begins; after the last one, where there is none."""
    for tabs in TABS.finditer(text):
        for title in TITLE.finditer(tabs[0]):
            yield tabs.start() + title.start(), title[1]
        yield tabs.end(), None
