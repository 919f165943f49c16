"""Images of a folder or an archive on this machine, by the rules and bounds of an upload."""

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple, Self

from app.archives.entries import CODE_PAGES
from app.archives.splits import is_training, nothing_to_train
from app.archives.uploads import LabelledImage, Upload, examined
from app.errors import Invalid
from training_worker.source import Entry, in_order


@dataclass(frozen=True)
class Bounds:
    """The bounds of an upload, with the defaults that the service's settings have."""

    max_upload_bytes: int = 2 * 2**30
    max_dataset_images: int = 100_000
    max_dataset_bytes: int = 8 * 2**30
    max_labels: int = 1_000
    max_image_bytes: int = 20 * 2**20
    max_image_pixels: int = 50_000_000
    max_decode_seconds: float = 5.0

    @property
    def max_archive_entries(self) -> int:
        """The most files and folders of an archive: its images, a file beside each, and more."""
        return 2 * self.max_dataset_images + 1000

    @classmethod
    def given(cls, raised: dict[str, Any]) -> Self:
        """Return the bounds, with these in place of the defaults.

        Raises:
            Invalid: `unknown_bound`, `bad_bound`.
        """
        known = [each.name for each in fields(cls)]
        for name, value in raised.items():
            if name not in known:
                listed = ", ".join(known)
                raise Invalid("unknown_bound", f"no bound is called {name!r}; there are {listed}")
            if type(value) not in (int, float) or not 0 < value < 2**63:
                raise Invalid("bad_bound", f"{name} is {value!r}; it must be a number above 0")
        whole = {k: v if k == "max_decode_seconds" else int(v) for k, v in raised.items()}
        return cls(**whole)  # type: ignore[arg-type]


class TrainingImages(NamedTuple):
    """The images to train on, in a pack that goes after the block, and all that was found."""

    entries: list[Entry]
    pack: Path
    upload: Upload

    @property
    def counts(self) -> dict[str, int]:
        """The number of training images of each label."""
        return dict(sorted(Counter(entry.label for entry in self.entries).items()))


@contextmanager
def training_images(
    data: Path, scratch: Path, bounds: Bounds, code_page: str | None = None
) -> Iterator[TrainingImages]:
    """Yield the training images of a folder, zip or tar; those of val and test are left out.

    Raises:
        Problem: as `app.archives.uploads.examined`.
        Invalid: `no_data`, `nothing_to_train`, `unknown_code_page`.
    """
    if code_page is not None and code_page not in CODE_PAGES:
        listed = ", ".join(CODE_PAGES)
        raise Invalid("unknown_code_page", f"{code_page!r} is no code page: name one of {listed}")
    with ExitStack() as opened:
        pack = scratch / "images.pack"
        source = data if data.is_dir() else opened.enter_context(_opened(data))
        upload = opened.enter_context(examined(source, pack, bounds, code_page))
        entries = in_order(entries_of(upload.images))
        if not entries:
            raise nothing_to_train(repr(str(data)), upload.splits)
        yield TrainingImages(entries, pack, upload)


def entries_of(images: list[LabelledImage]) -> Iterator[Entry]:
    """Yield the images that a component is trained on, numbered as they were found."""
    for number, image in enumerate(images):
        if is_training(image.split):
            yield Entry(
                label=image.label,
                sha256=image.image.sha256.hex(),
                id=f"{number:09}",
                path=image.image.path,
                pack_offset=image.place.offset,
                pack_length=image.place.length,
                group=image.group,
                perceptual_hash=image.image.facts.perceptual_hash,
            )


def _opened(data: Path):  # type: ignore[no-untyped-def]
    try:
        return data.open("rb")
    except OSError as error:
        raise Invalid(
            "no_data",
            f"{str(data)!r} cannot be read ({error.strerror}): give a folder, a zip or a tar of "
            "images",
        ) from error
