"""Images of an archive that is added, told of as if those that are held had come with it.

What a folder means may depend on the folders beside it: `val` is a split of a manifest's images if
some are for training, and `seg_val` is one beside `seg_train`. What the held images' folders meant
when these came stays: components were trained by it.
"""

from collections.abc import Sequence
from functools import cache

from app.archives import layouts
from app.archives.outcomes import LabelledFile
from app.archives.splits import TRAIN, is_split, strictest
from app.errors import Invalid
from tangent_composer.labels import tidy


def splits(
    held: Sequence[LabelledFile], added: Sequence[LabelledFile], *, by_manifest: bool
) -> list[str | None]:
    """Return the splits of added files: their own, or what their folders mean beside the held ones.

    `by_manifest`: a manifest told the added files' labels.
    """
    told = [file.split for file in added]
    if by_manifest:
        if any(file.split == TRAIN for file in held):
            told = [file.split or layouts.split_of(_folder_of_split(file)) for file in added]
        return told
    files = [*held, *added]
    try:
        placed = list(layouts.placed([file.image.path for file in files]))
    except Invalid:  # together they are no layout, so each archive stays for itself
        return told
    label_of = cache(tidy)  # many files have one folder
    # Labels of other origin, as by a manifest or a correction, say that the folders tell nothing.
    pairs = zip(files, placed, strict=True)
    if any(label_of(each.label or "") != file.label for file, each in pairs):
        return told
    beside = placed[len(held) :]
    return [one or layouts.split_of(each.split) for one, each in zip(told, beside, strict=True)]


def _folder_of_split(file: LabelledFile) -> str | None:
    """Return the folder that a file's split is named by; its label's is none."""
    folders = layouts.folders_of(file.image.path)
    return next((name for name in folders if is_split(name) and tidy(name) != file.label), None)


def unique(files: Sequence[LabelledFile]) -> list[LabelledFile]:
    """Return the files without further ones of equal bytes and label, in their bytes' splits."""
    split_of = split_of_bytes(files)
    kept: dict[tuple[str, bytes], LabelledFile] = {}
    for file in files:
        kept.setdefault((file.label, file.image.sha256), file)
    return [file._replace(split=split_of[file.image.sha256]) for file in kept.values()]


def split_of_bytes(files: Sequence[LabelledFile]) -> dict[bytes, str | None]:
    """Return the split of each file's bytes, the strictest that is told of them."""
    found: dict[bytes, str | None] = {}
    for file in files:
        sha256 = file.image.sha256
        found[sha256] = strictest((found.get(sha256), file.split))
    return found
