"""The quarantine: files that lay among the blobs and that no row knows, kept under their keys.

Nothing in it is served. A file goes back as soon as a row names it, and is removed together with
the component or dataset that its key tells; else a person decides, by `tangent doctor`.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from app.files import folders
from app.files.blobs import LocalBlobs

FOLDER = "quarantine"


class Quarantine:
    """The folder beside that of the blobs; it is made when the first file comes."""

    def __init__(self, blobs: LocalBlobs) -> None:
        self.root = blobs.root.parent / FOLDER
        self._blobs = blobs

    def path(self, key: str) -> Path:
        """Return the path of a file with this key, whether or not it is there."""
        if not key or key.startswith("/") or ".." in Path(key).parts:
            raise ValueError(f"blob key {key!r} leaves the quarantine folder")
        return self.root / key

    def keys(self, prefix: str = "") -> Iterator[str]:
        """Yield every key below the prefix, in sorted order."""
        for path in sorted(folders.files(self.root / prefix)):
            yield str(path.relative_to(self.root))

    def take(self, key: str) -> bool:
        """Move a blob here; False if it is gone, or another one of this key is here."""
        return _moved(self._blobs.path(key, must_exist=False), self.path(key), self._blobs.root)

    def give_back(self, key: str) -> bool:
        """Move a file back among the blobs; False if it is gone, or its place is taken."""
        return _moved(self.path(key), self._blobs.path(key, must_exist=False), self.root)

    def delete(self, key: str) -> int:
        """Remove the file, and its folder if now empty; return the number of bytes freed."""
        path = self.path(key)
        try:
            size = path.stat().st_size
            path.unlink()
        except FileNotFoundError:
            return 0
        _drop_empty(path.parent, self.root)
        return size


def _moved(source: Path, target: Path, root: Path) -> bool:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)  # never over another file
    except FileNotFoundError:
        _drop_empty(target.parent, target.parent.parent)
        return False
    except FileExistsError:
        return False
    except OSError:  # a file system without links
        if target.exists():
            return False
        os.replace(source, target)
    else:
        source.unlink(missing_ok=True)
    for folder in (target.parent, source.parent):
        folders.sync(folder)
    _drop_empty(source.parent, root)
    return True


def _drop_empty(folder: Path, root: Path) -> None:
    """Remove the folder, and those above it up to the root, as far as they are empty."""
    while folder not in (root, folder.parent) and folder.is_relative_to(root):
        try:
            folder.rmdir()
        except OSError:
            return
        folder = folder.parent
