"""The picture of rooms and arrows that docs/architecture.md holds, as Mermaid graphs.

It stands between `<!-- rooms -->` and `<!-- /rooms -->`; the text around is left alone.
"""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from benchmarks.structure.rooms import Rooms, children, rooms
from benchmarks.structure.sources import ROOT

BOXES = ("tangent", "training_worker")  # drawn shut beside the rooms of the framed packages
FRAMED = ("app", "tangent_composer")
PICTURE = """<!-- rooms -->
An arrow goes from a room to a room that it imports. An arrow that other arrows imply is left out.
A slash ends the name of a package; other names are single modules.

{whole}

The rooms of `tangent`:

{tangent}
<!-- /rooms -->"""


def picture(root: Path = ROOT) -> str:
    """Return the markers and what stands between them."""
    framed = [room for package in FRAMED for room in children(root, package)]
    whole = Rooms.of(root, [*framed, *BOXES])
    return PICTURE.format(whole=graph(whole, FRAMED), tangent=graph(rooms(root, "tangent")))


def rendered(page: str, root: Path = ROOT) -> str:
    """Return the page with its picture drawn again.

    Raises:
        ValueError: the page has not exactly one place for it.
    """
    text = picture(root)
    page, count = re.subn("<!-- rooms -->.*?<!-- /rooms -->", lambda _: text, page, flags=re.S)
    if count != 1:
        raise ValueError(f"the page has {count} places from <!-- rooms --> to <!-- /rooms -->")
    return page


def graph(found: Rooms, framed: Iterable[str] = ()) -> str:
    """Return the graph of rooms, the highest first, with a frame around those of each package."""
    ordered = sorted(found.names, key=lambda name: (-found.storeys[name], name))
    lines, drawn = ["```mermaid", "flowchart TD"], set()
    for package in framed:
        inside = [name for name in ordered if name.startswith(f"{package}.")]
        frame = [f"    {line}" for line in _nodes(found, inside)]
        lines += [f"    subgraph {package}", *frame, "    end"]
        drawn.update(inside)
    lines += _nodes(found, (name for name in ordered if name not in drawn))
    for room in ordered:
        ahead = sorted(_key(b) for a, b in found.reduced if a == room)
        if ahead:
            lines.append(f"    {_key(room)} --> {' & '.join(ahead)}")
    return "\n".join([*lines, "```"])


def _nodes(found: Rooms, names: Iterable[str]) -> Iterator[str]:
    for name in names:
        end = "" if name in found.loose else "/"
        yield f'    {_key(name)}["{name.rpartition(".")[2]}{end}"]'


def _key(name: str) -> str:
    """Return a dotted name as Mermaid takes it; whole, for a last part may be a word of Mermaid."""
    return name.replace(".", "_")
