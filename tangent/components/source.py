"""The source of a component: where its file lies, and what it must be."""

from typing import NamedTuple


class Source(NamedTuple):
    """The place of a component: a key that its loader knows, and the SHA-256 of the file."""

    key: str
    sha256: str
