"""The labels of an archive's good images, with their splits and groups.

    for found in by_folders(images, rejected): …        None for a rejected one
    for found in by_manifest(images, manifest, rejected): …

A manifest decides alone on labels and groups. Where it tells no split, the folders do.
"""

from collections.abc import Iterator, Sequence

from app.archives import layouts
from app.archives.manifests import Manifest, as_listed
from app.archives.outcomes import AcceptedImage, LabelledFile, Rejected
from tangent_composer.labels import fault, tidy
from tangent_composer.system_files import is_hidden

HIDDEN = (
    "it is hidden, as a part of its path begins with a dot: rename it, or list it in a manifest"
)
NO_FOLDER = "is missing: the image is not in a folder"
NO_LABEL = "is missing: no folder around the image is named for a label"


def by_folders(
    images: Sequence[AcceptedImage], rejected: Rejected
) -> Iterator[LabelledFile | None]:
    """Yield every image with its folders' label; reject those whose folders tell none."""
    interned: dict[str, str] = {}
    paths = [image.path for image in images]
    in_masks = zip(paths, layouts.masks(paths), strict=True)
    faults = [_no_place(path, folder) for path, folder in in_masks]
    usable = [path for path, why in zip(paths, faults, strict=True) if why is None]
    places = layouts.placed(usable)
    for image, why in zip(images, faults, strict=True):
        given, folder = (None, None) if why else next(places)
        label = tidy(given or "")
        if not (why or label):
            why = f"its label {NO_LABEL if '/' in image.path else NO_FOLDER}"
        elif not why and (of_label := fault(label)):
            why = f"its label {of_label}"
        if why:
            rejected.add(image.path, why)
            yield None
        else:
            label = interned.setdefault(label, label)
            yield LabelledFile(label, layouts.split_of(folder), None, folder, image)


def by_manifest(
    images: Sequence[AcceptedImage], manifest: Manifest, rejected: Rejected
) -> Iterator[LabelledFile | None]:
    """Yield every image with its row's label; reject those without a row that can be used."""
    faults = dict(manifest.rejected)
    paths = [as_listed(image.path) for image in images]
    for image, path, folder in zip(images, paths, layouts.splits(paths), strict=True):
        if (label := manifest.labels.get(path)) is None:
            reason = faults.get(path, "the manifest does not list this image")
            rejected.add(image.path, reason)
            yield None
            continue
        if split := manifest.splits.get(path):
            folder = None
        split = split or layouts.split_of(folder)
        yield LabelledFile(label, split, manifest.groups.get(path), folder, image)


def _no_place(path: str, masks: str | None) -> str | None:
    """Return why an image cannot have its label from its folders, whatever they are."""
    if masks is not None:
        return f"it lies in {masks!r}, beside a folder of images: a mask of another task, perhaps"
    return HIDDEN if is_hidden(path) else None
