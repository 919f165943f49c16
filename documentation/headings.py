"""Headings of a page, and the anchors that links to them use, on a code host as on the site."""

import re
from collections.abc import Callable, Iterator

HEADING = re.compile(r"^(#{1,6}) +(.+?) *#*$", re.M)
FENCE = re.compile(r"^ *```\w*\n.*?^ *```$", re.M | re.S)


def anchors(text: str) -> Iterator[str]:
    """Yield the anchor of each heading; of equal ones the later have a number."""
    seen: dict[str, int] = {}
    for title in titles(text):
        name = slug(title)
        count = seen[name] = seen.get(name, -1) + 1
        yield f"{name}-{count}" if count else name


def titles(text: str) -> list[str]:
    """Return the headings as they are written, those in blocks of code left out."""
    return [title for _, title in HEADING.findall(FENCE.sub("", text))]


def slug(title: str) -> str:
    """Return a heading in lower case, with minus signs for blanks and without other signs."""
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title)
    return re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")


def slugger() -> Callable[[str, str], str]:
    """Return what Python-Markdown calls for the anchor of a heading."""
    return separated


def separated(title: str, separator: str) -> str:
    """Return a heading's anchor with this sign between its words."""
    return slug(title).replace("-", separator)
