"""The text of a page of `docs/` as the site has it: tabs, drawn graphs, links, no comments.

On a code host the same text is read as it stands, so it is plain Markdown. Alternatives stand
between `<!-- tabs -->` and `<!-- /tabs -->`, each below a line of its own in bold; the site shows
them as tabs.
"""

import re
from collections.abc import Callable
from textwrap import indent

FENCE = re.compile(r"(^ *```\w*\n.*?^ *```$)", re.M | re.S)
TABS = re.compile(r"^<!-- tabs -->\n(.*?)^<!-- /tabs -->$", re.M | re.S)
TITLE = re.compile(r"^\*\*([^*\n]+)\*\*$", re.M)
GRAPH = re.compile(r"^```mermaid\n(.*?)^```$", re.M | re.S)
COMMENT = re.compile(r"^<!--.*?-->\n|<!--.*?-->", re.M | re.S)
PICTURE = re.compile(r"<!-- picture: (\w+) \| (.*?) -->")
LINK = re.compile(r"(\]\()([^)\s]+)(\))")


def tabbed(text: str) -> str:
    """Return the text with its alternatives as tabs."""
    return TABS.sub(lambda found: _tabs(found[1]), text)


def with_pictures(text: str, file: Callable[[str], str | None]) -> str:
    """Return the text with its pictures; `file` returns the file of a name, if there is one."""

    def shown(found: re.Match[str]) -> str:
        path = file(found[1])
        return f"![{found[2]}]({path})" if path else ""

    return PICTURE.sub(shown, text)


def with_graphs_drawn(text: str, draw: Callable[[str], str]) -> str:
    """Return the text with each graph as a picture; `draw` returns the file of one."""
    return GRAPH.sub(lambda found: f"![The rooms and arrows, drawn]({draw(found[1])})", text)


def without_comments(text: str) -> str:
    """Return the text without comments, those in blocks of code kept."""
    return outside_code(text, lambda part: COMMENT.sub("", part))


def with_links(text: str, place: Callable[[str], str]) -> str:
    """Return the text with each address of a link replaced, those in blocks of code kept."""
    return outside_code(text, lambda part: LINK.sub(lambda m: m[1] + place(m[2]) + m[3], part))


def outside_code(text: str, change: Callable[[str], str]) -> str:
    """Return the text with everything changed but its blocks of code."""
    parts = FENCE.split(text)
    return "".join(part if n % 2 else change(part) for n, part in enumerate(parts))


def _tabs(text: str) -> str:
    before, *parts = TITLE.split(text)
    if before.strip():
        raise ValueError(f"tabs begin with a title in bold, not with {before.strip()[:60]!r}")
    pairs = zip(parts[::2], parts[1::2], strict=True)
    return "\n".join(f'=== "{title}"\n\n{_inner(body)}\n' for title, body in pairs)


def _inner(body: str) -> str:
    """Return what a tab holds; comments go first, as they would be indented into code."""
    return indent(without_comments(body).strip("\n"), "    ")
