"""The manifest of a backup: hashes of its files and tables, the ledger's head, and versions."""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from app.backups.rows import Digest, Head

FORMAT = 1
NAME, DATABASE, BLOBS = "manifest.json", "tangent.db", "blobs/"


class BadBackup(Exception):
    """A file that is no whole backup; the message says what is wrong with it."""


@dataclass(frozen=True)
class Entry:
    """A file of the backup."""

    bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """All that a restore checks before it acknowledges anything."""

    made_at: str
    version: str  # of Tangent Composer
    revision: str  # of the database schema
    identity: str | None  # of the database
    ledger: Head
    tables: dict[str, Digest]
    files: dict[str, Entry]
    missing: list[str] = field(default_factory=list)  # keys that rows name and no blob had
    damaged_rows: list[str] = field(default_factory=list)  # which stay damaged in a restored store

    def to_bytes(self) -> bytes:
        """Return the manifest as JSON, with a hash over it."""
        content = asdict(self) | {
            "format": FORMAT,
            "ledger": self.ledger._asdict(),
            "tables": {name: digest._asdict() for name, digest in self.tables.items()},
        }
        content["sha256"] = _hash(content)
        return (json.dumps(content, indent=1, sort_keys=True) + "\n").encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Return the manifest in this JSON.

        Raises:
            BadBackup: it is damaged, or of a format that this version does not know.
        """
        try:
            content = json.loads(data)
            if content["format"] != FORMAT:
                raise BadBackup(
                    f"it has format {content['format']!r}, and this version reads {FORMAT}: "
                    "restore it with the version that made it"
                )
            if content.pop("sha256") != _hash(content):
                raise BadBackup("its manifest is damaged: use another backup")
            del content["format"]
            return cls(**content | _parsed(content))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise BadBackup("its manifest is damaged: use another backup") from None


def _parsed(content: dict[str, Any]) -> dict[str, Any]:
    return {
        "ledger": Head(**content["ledger"]),
        "tables": {name: Digest(**each) for name, each in content["tables"].items()},
        "files": {name: Entry(**each) for name, each in content["files"].items()},
    }


def _hash(content: dict[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
