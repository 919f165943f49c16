"""Images added to a dataset: planned from an archive, and written into a new pack.

    plan(session, dataset_id, upload, limits)            the images that the dataset has not yet
    with grown_pack(blobs, sessions, plan) as pack: …    its pack with theirs

The new pack has the bytes of the images alone, so that nothing of an image that a deletion has not
yet erased comes along. The old one goes with the transaction that names the new one.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple
from uuid import uuid4

from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from app.archives import lookalikes, packs, splits
from app.archives.entries import Limits
from app.archives.outcomes import AcceptedImage, LabelledFile
from app.archives.packs import Moved, Place
from app.archives.splits import is_training
from app.archives.uploads import LabelledImage, Upload
from app.database.tables import Dataset, Image
from app.datasets import datasets, image_rows
from app.datasets.training_images import label_counts, training_only
from app.errors import TooLarge
from app.files import stored_images
from app.files.blobs import BlobMissing, LocalBlobs
from app.files.intents import Intent, store
from app.images.image_files import Facts
from app.unlearning import change_plan
from app.unlearning.change_plan import Merged, NewImages, Plan, Unchanged

ROWS_AT_ONCE = 500


class Held(NamedTuple):
    """An image that the dataset has."""

    id: str
    file: LabelledFile
    place: Place

    @property
    def split(self) -> str | None:
        """Return the image's split."""
        return self.file.split

    @property
    def group(self) -> str | None:
        """Return the image's group."""
        return self.file.group


Contents = tuple[str, str]  # label and SHA-256


def plan(session: Session, dataset_id: str, upload: Upload, limits: Limits) -> Plan:
    """Plan to add the archive's images; of those that the dataset has, the copies are counted.

    Raises:
        Unchanged: the dataset has all of them.
        Gone, NotFound: as `datasets.get`.
        TooLarge: `too_many_images` or `too_many_labels`.
        Conflict: `nothing_left_to_train`.
    """
    dataset = datasets.get(session, dataset_id)
    held = _held(session, dataset_id)
    split_of = _splits(held, upload)
    fresh = [
        each._replace(split=split_of[each.image.sha256.hex()])
        for each in upload.images
        if _content(each) not in held
    ]
    merged = _merged(held, upload, split_of)
    if not fresh and all(
        (known.split, known.group) == merged[known.id][1:]
        for known in held.values()
        if known.id in merged
    ):
        raise Unchanged
    _check_room(dataset, fresh, limits)
    new = _placed(session, dataset, upload, held, fresh, merged)
    is_seen = bool(new.held_back) or any(is_training(each.split) for each in fresh)
    left = sum(label_counts(session, dataset, training_only()).values()) - len(new.held_back)
    if new.held_back and not left and not any(is_training(each.split) for each in fresh):
        last = "the archive has in val or test the last images"
        change_plan.check_no_component(session, dataset_id, last)
    ready = change_plan.trained(session, dataset_id) if is_seen else []
    return Plan(dataset, [], {}, ready, is_seen, added=new)


def _content(image: LabelledImage) -> Contents:
    return image.label, image.image.sha256.hex()


def _splits(held: dict[Contents, Held], upload: Upload) -> dict[str, str | None]:
    """Return the split of each file's bytes, the strictest that dataset and archive tell."""
    told = [(sha256, known.split) for (_, sha256), known in held.items()]
    told += [(each.image.sha256.hex(), each.split) for each in upload.images]
    found: dict[str, str | None] = {}
    for sha256, split in told:
        found[sha256] = splits.strictest((found.get(sha256), split))
    return found


def _merged(
    held: dict[Contents, Held], upload: Upload, split_of: dict[str, str | None]
) -> dict[str, Merged]:
    """Return by id what becomes of images whose bytes the archive has too."""
    told = {_content(each): each for each in upload.images}
    sent = {each.image.sha256.hex() for each in upload.images}
    merged = {}
    for content, known in held.items():
        if content[1] in sent:
            same = told.get(content)
            copies, group = (same.copies, same.group) if same else (0, None)
            merged[known.id] = Merged(copies, split_of[content[1]], known.group or group)
    return merged


def _placed(
    session: Session,
    dataset: Dataset,
    upload: Upload,
    held: dict[Contents, Held],
    fresh: list[LabelledImage],
    merged: dict[str, Merged],
) -> NewImages:
    """Return the new images with their ids and places.

    Raises:
        TooLarge: `too_many_images`.
    """
    first = image_rows.next_number(session, dataset.id)
    if first + len(fresh) > image_rows.MAX_NUMBER + 1:
        raise TooLarge(
            "too_many_images",
            f"dataset {dataset.id} has had {first} images, deleted ones counted, and numbers for "
            f"{image_rows.MAX_NUMBER + 1}: upload these as a dataset of their own",
        )
    places = {known.place for known in held.values()}
    end = max((place.offset + place.length for place in places), default=0)
    moved = _moved(fresh, end)
    offsets = dict(moved)
    placed = (
        each._replace(place=each.place._replace(offset=offsets[each.place])) for each in fresh
    )
    return NewImages(
        rows=list(image_rows.made(dataset.id, placed, first)),
        merged=merged,
        held_back=_images(session, _held_back(held, merged)),
        upload=upload,
        held=sorted(places),
        moved=moved,
        end=end + sum(place.length for place, _ in moved),
        files=_numbers(dataset, upload, held, fresh, merged),
    )


def grown_pack(blobs: LocalBlobs, sessions: sessionmaker[Session], plan: Plan) -> Intent:
    """Store the dataset's pack with the new images, for a row to name it.

    Raises:
        NotReady: `image_damaged`.
        DiskFull: `disk_full`.
    """
    new = plan.added
    assert new is not None
    path = blobs.scratch_path(datasets.SCRATCH)
    try:
        old = blobs.path(plan.dataset.pack_key)
        packs.write_with(path, old, new.held, new.upload.pack, new.moved)
        return store(sessions, blobs, path, f"datasets/{plan.dataset.id}/{uuid4().hex}.pack")
    except (BlobMissing, EOFError, FileNotFoundError) as error:
        raise stored_images.damaged(BlobMissing(str(error))) from error
    finally:
        path.unlink(missing_ok=True)


def _held(session: Session, dataset_id: str) -> dict[Contents, Held]:
    """Return the dataset's images by label and hash, in its order."""
    facts = Image.media_type, Image.width, Image.height, Image.perceptual_hash
    columns = Image.id, Image.label, Image.split, Image.group, Image.path, Image.sha256
    query = select(*columns, Image.pack_offset, Image.pack_length, *facts).order_by(Image.id)
    held = {}
    for id_, label, split, group, path, sha256, offset, length, *of_file in session.execute(
        query.where(Image.dataset_id == dataset_id)
    ):
        image = AcceptedImage(path, bytes.fromhex(sha256), Facts(*of_file))
        file = LabelledFile(label, split, group, None, image)
        held[label, sha256] = Held(id_, file, Place(offset, length))
    return held


def _numbers(
    dataset: Dataset,
    upload: Upload,
    held: dict[Contents, Held],
    fresh: list[LabelledImage],
    merged: dict[str, Merged],
) -> dict[str, Any] | None:
    """Return the numbers and warnings of the files of all archives, as of one that had them all."""
    if dataset.files is None:
        return None
    images = [
        known.file._replace(split=merged[known.id].split) if known.id in merged else known.file
        for known in held.values()
    ]
    images += [LabelledFile(each.label, each.split, each.group, None, each.image) for each in fresh]
    near, earlier = lookalikes.found(images), dict(dataset.files)
    known = (earlier.pop("near_duplicates", None), upload.near_duplicates)
    stale = {each for one in known if one for each in lookalikes.warnings_of(one)}
    warned = earlier.pop("warnings", [])  # an upload of before there were any has none
    told = [each for each in (*warned, *upload.warnings) if each not in stale]
    more = upload.files._asdict()
    return {name: _sum(count, more[name]) for name, count in earlier.items()} | {
        "warnings": list(dict.fromkeys([*told, *lookalikes.warnings_of(near)])),
        "near_duplicates": near,
    }


def _sum(one: Any, other: Any) -> Any:
    if isinstance(one, Mapping):
        return {key: one.get(key, 0) + other.get(key, 0) for key in sorted({*one, *other})}
    return one + other


def _held_back(held: dict[Contents, Held], merged: dict[str, Merged]) -> list[str]:
    """Return the ids of images that are for training no more."""
    seen = (known.id for known in held.values() if is_training(known.split))
    return [id_ for id_ in seen if id_ in merged and not is_training(merged[id_].split)]


def _images(session: Session, ids: list[str]) -> list[Image]:
    found: list[Image] = []
    for start in range(0, len(ids), ROWS_AT_ONCE):
        some = Image.id.in_(ids[start : start + ROWS_AT_ONCE])
        found += session.scalars(select(Image).where(some).order_by(Image.id))
    return found


def _check_room(dataset: Dataset, fresh: list[LabelledImage], limits: Limits) -> None:
    images, most = dataset.num_images + len(fresh), limits.max_dataset_images
    if images > most:
        raise TooLarge(
            "too_many_images",
            f"dataset {dataset.id} would have {images} images, more than the {most} allowed: "
            "upload these as a dataset of their own",
        )
    labels = len({*dataset.labels, *(each.label for each in fresh)})
    if labels > limits.max_labels:
        raise TooLarge(
            "too_many_labels",
            f"dataset {dataset.id} would have {labels} labels, more than the {limits.max_labels} "
            "allowed: upload these as a dataset of their own",
        )


def _moved(fresh: list[LabelledImage], end: int) -> list[Moved]:
    """Return where the new images' bytes go, one after the other from the end of the pack on."""
    moved = []
    for place in dict.fromkeys(each.place for each in fresh):  # equal bytes have one place
        moved.append(Moved(place, end))
        end += place.length
    return moved
