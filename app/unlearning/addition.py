"""Images added to a dataset: planned from an archive, and written into a new pack.

    plan(session, dataset_id, upload, limits)            the images that the dataset has not yet
    with grown_pack(blobs, sessions, plan) as pack: …    its pack with theirs

The new pack has the bytes of the images alone, so that nothing of an image that a deletion has not
yet erased comes along. The old one goes with the transaction that names the new one.
"""

from typing import NamedTuple
from uuid import uuid4

from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from app.archives import joined_archives, lookalikes, packs
from app.archives.entries import Limits
from app.archives.groups import joined
from app.archives.label_warnings import warnings_of
from app.archives.outcomes import AcceptedImage, LabelledFile
from app.archives.packs import Moved, Place
from app.archives.splits import is_training, strictest
from app.archives.uploads import LabelledImage, Upload
from app.database.chunks import chunks
from app.database.tables import Dataset, Image
from app.datasets import datasets, image_rows
from app.datasets.training_images import label_counts, training_only
from app.errors import TooLarge
from app.files import stored_images
from app.files.blobs import BlobMissing, LocalBlobs
from app.files.intents import Intent, store
from app.images.image_files import Facts
from app.unlearning import added_numbers, change_plan
from app.unlearning.change_plan import Merged, NewImages, Plan, Unchanged


class Held(NamedTuple):
    """An image that the dataset has."""

    id: str
    split: str | None  # which counts
    file: LabelledFile  # with what was told of itself
    place: Place

    @property
    def told(self) -> tuple[str | None, str | None, str | None]:
        """Return what another archive may tell of it too, as `Merged` has it."""
        return self.split, self.file.split, self.file.group


Contents = tuple[str, str]  # label and SHA-256


def plan(session: Session, dataset_id: str, upload: Upload, limits: Limits) -> Plan:
    """Plan to add the archive's images; of those that the dataset has, the copies are counted.

    Raises:
        Unchanged: the dataset has all of them.
        Gone, NotFound: as `datasets.get`.
        TooLarge: `too_many_images` or `too_many_labels`.
        Conflict: `nothing_left_to_train`; as `change_plan.refuse_unnoised` and `refuse_private`.
    """
    dataset = datasets.get(session, dataset_id)
    held = _held(session, dataset_id)
    files = _told_together(held, upload)
    split_of = joined_archives.split_of_bytes(files)
    sent = [
        each._replace(split=split_of[each.image.sha256], own_split=file.split)
        for each, file in zip(upload.images, files[len(held) :], strict=True)
    ]
    fresh = [each for each in sent if _content(each) not in held]
    merged = _merged(held, sent, split_of)
    known = (each for each in held.values() if each.id in merged)
    if not fresh and all(each.told == merged[each.id][1:] for each in known):
        raise Unchanged
    _check_room(dataset, fresh, limits)
    new = _placed(session, dataset, upload, held, fresh, merged, files)
    is_seen = bool(new.held_back) or any(is_training(each.split) for each in fresh)
    left = sum(label_counts(session, dataset, training_only()).values()) - len(new.held_back)
    if new.held_back and not left and not any(is_training(each.split) for each in fresh):
        last = "the archive has in val or test the last images"
        change_plan.check_no_component(session, dataset_id, last)
    ready = change_plan.trained(session, dataset_id) if is_seen else []
    if is_seen:
        change_plan.refuse_unnoised(session, dataset, "the images")
    return Plan(dataset, [], {}, ready, is_seen, added=new)


def _content(image: LabelledImage) -> Contents:
    return image.label, image.image.sha256.hex()


def _told_together(held: dict[Contents, Held], upload: Upload) -> list[LabelledFile]:
    """Return the files that are held, and the archive's with the splits that they have beside."""
    known = [each.file for each in held.values()]
    added = [added_numbers.file_of(each) for each in upload.images]
    told = joined_archives.splits(known, added, by_manifest=bool(upload.files.manifests))
    return known + [file._replace(split=split) for file, split in zip(added, told, strict=True)]


def _merged(
    held: dict[Contents, Held], images: list[LabelledImage], split_of: dict[bytes, str | None]
) -> dict[str, Merged]:
    """Return by id what becomes of images whose bytes the archive has too."""
    told = {_content(each): each for each in images}
    sent = {each.image.sha256 for each in images}
    merged = {}
    for content, known in held.items():
        file = known.file
        if file.image.sha256 in sent:
            split, own, group = split_of[file.image.sha256], file.split, file.group
            copies = 0
            if same := told.get(content):
                own, group = strictest((own, same.own_split)), joined((group, same.group))
                copies = same.copies
            merged[known.id] = Merged(copies, split, own, group)
    return merged


def _placed(
    session: Session,
    dataset: Dataset,
    upload: Upload,
    held: dict[Contents, Held],
    fresh: list[LabelledImage],
    merged: dict[str, Merged],
    files: list[LabelledFile],
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
        files=added_numbers.numbers(
            dataset, upload, [known.file for known in held.values()], files
        ),
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
    named = Image.id, Image.split, Image.label, Image.own_split, Image.group, Image.path
    query = select(*named, Image.sha256, Image.pack_offset, Image.pack_length, *facts)
    held = {}
    for id_, split, label, own, group, path, sha256, offset, length, *of_file in session.execute(
        query.where(Image.dataset_id == dataset_id).order_by(Image.id)
    ):
        image = AcceptedImage(path, bytes.fromhex(sha256), Facts(*of_file))
        file = LabelledFile(label, own, group, None, image)
        held[label, sha256] = Held(id_, split, file, Place(offset, length))
    return held


def warnings(session: Session, dataset: Dataset, upload: Upload) -> list[str]:
    """Return the sentences on all of the dataset's files, after this archive was added."""
    if dataset.files is not None:
        found: list[str] = dataset.files.get("warnings", [])
        return found
    held = [known.file for known in _held(session, dataset.id).values()]
    told = warnings_of(held, by_folders=not upload.files.manifests)
    return [*told, *lookalikes.warnings_of(lookalikes.found(joined_archives.unique(held)))]


def _held_back(held: dict[Contents, Held], merged: dict[str, Merged]) -> list[str]:
    """Return the ids of images that are for training no more."""
    seen = (known.id for known in held.values() if is_training(known.split))
    return [id_ for id_ in seen if id_ in merged and not is_training(merged[id_].split)]


def _images(session: Session, ids: list[str]) -> list[Image]:
    found: list[Image] = []
    for some in chunks(ids):
        found += session.scalars(select(Image).where(Image.id.in_(some)).order_by(Image.id))
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
