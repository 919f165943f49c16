r"""Groups of an image: patient, source file, video. Files with its bytes may be in several groups.

    joined(["b", None, "a", "b"])    "a\nb", as a row holds it
    names_of("a\nb")                  ("a", "b")

Such an image makes one of its groups wherever they must not be parted; without it they are several.
"""

from collections.abc import Iterable

SEPARATOR = "\n"  # in no name, as in no label


def joined(groups: Iterable[str | None]) -> str | None:
    """Return the names of all these groups, each once and sorted; None if there are none."""
    names = {name for group in groups for name in names_of(group)}
    return SEPARATOR.join(sorted(names)) or None


def names_of(group: str | None) -> tuple[str, ...]:
    """Return the names of an image's groups."""
    return () if group is None else tuple(group.split(SEPARATOR))
