"""The body of a receipt: what one deletion removed and changed, and the code that did it.

    row.body = written(BodyV3(subject=…, …))     a new receipt
    read(row.body).subjects                      a stored one, of any version

A body holds no content: only ids, counts, times, versions and hashes, those of users' data salted.
The hash of a receipt covers its body, so `written` must give back every stored body unchanged.
"""

import hashlib
import platform
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import UnionType
from typing import Any, ClassVar, get_args, get_origin, get_type_hints

import tangent_composer

ROOT = Path(__file__).resolve().parents[2]
CONTRACT = Path(tangent_composer.__file__).resolve().parent
OURS = (
    *(ROOT / name for name in ("app", "migrations", "tangent", "training_worker")),
    *(
        CONTRACT / name
        for name in ("canonical_json.py", "labels.py", "receipts", "schemas", "vocabulary.py")
    ),
)
LIBRARIES = ("torch", "timm")
NOT_COVERED = (
    "component files and images that were downloaded",
    "what a component file from before and one from after the deletion, or answers, tell together: "
    "their difference is an exact function of what was deleted (see Cohen et al., FORC 2026)",
    "answers given and evaluations read before the deletion",
    "backups and replicas of the database and of the blob folder",
    "what a database server keeps of deleted rows until it cleans up, and its logs",
    "traces below the file system, such as unused blocks of the disk",
    "what the backbone was pre-trained on",
)


def installed(package: str) -> str:
    """Return the package's version, or 0 if it is not installed, as in a bare checkout."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "0"


@cache
def code() -> dict[str, str]:
    """Return the project's version, and one hash over its Python files on this disk."""
    digest = hashlib.sha256()
    for place in OURS:
        for path in [place] if place.is_file() else sorted(place.rglob("*.py")):
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            name = path.relative_to(CONTRACT.parent if place.parent == CONTRACT else ROOT)
            digest.update(f"{name.as_posix()} {content}\n".encode())
    return {"version": installed("tangent-composer"), "sha256": digest.hexdigest()}


@cache
def environment() -> dict[str, str]:
    """Return the versions of Python and libraries and the kind of platform, without host names."""
    return {
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
    } | {name: installed(name) for name in LIBRARIES}


def salted(salt: str, content: str) -> str:
    """Return a hash by which a person who has the content can find it in a receipt."""
    # Every receipt has a salt of its own, so equal contents match in no two receipts.
    return hashlib.sha256(f"{salt}:{content}".encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A component, a dataset, an image or its label, or a dataset's labels or new images."""

    kind: str
    id: str
    dataset_id: str | None = None  # of an image or its label


@dataclass(frozen=True, kw_only=True)
class Removed:
    """Rows, records or bytes of one kind, or one component file."""

    kind: str
    id: str | None = None
    count: int
    bytes: int | None = None
    sha256: str | None = None  # of a file that the service made: it identifies no data set


@dataclass(frozen=True, kw_only=True)
class ChangedComposition:
    """A composition that lost members or fitted weights."""

    name: str
    old_etag: str
    new_etag: str


@dataclass(frozen=True, kw_only=True)
class Invalidated:
    """Results that were fitted to or measured on deleted data."""

    compositions: tuple[ChangedComposition, ...]
    solved_weights: tuple[str, ...]  # names of compositions
    evaluations: tuple[str, ...]  # ids
    batch_predictions: tuple[str, ...] | None = None  # ids; None where there are none


@dataclass(frozen=True, kw_only=True)
class AlsoHeld:
    """The numbers of what holds deleted data, byte for byte, and stays."""

    datasets: int  # with some of the images
    images: int  # that were removed, or in the own dataset of a removed component
    components: int  # with the same file as a removed one, statistics aside


@dataclass(frozen=True, kw_only=True)
class ComponentOutcome:
    """The effect of a dataset's change on one component that is made from it."""

    id: str
    outcome: str  # down_dated, relabelled, updated, retraining, queued or unaffected
    old_sha256: str | None = None
    new_sha256: str | None = None


@dataclass(frozen=True, kw_only=True)
class LostLabels:
    """Labels that a space no longer has."""

    space: str
    count: int
    salted_sha256: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class SpaceManifest:
    """Hashes over a space's ready components before and after the deletion."""

    space: str
    before: str
    components_before: int
    after: str
    components_after: int


@dataclass(frozen=True, kw_only=True)
class BodyV1:
    """A deletion; a member with a default is written only if it is set."""

    version: ClassVar[int] = 1

    subject: Subject
    subjects: tuple[Subject, ...]
    dataset_id: str | None = None  # of a dataset that stays
    salt: str
    salted_archive_sha256: str | None
    salted_image_sha256: tuple[str, ...] | None = None
    added_images: int | None = None  # that the dataset has gained
    removed: tuple[Removed, ...]
    invalidated: Invalidated
    also_held: AlsoHeld | None = None  # None: by nothing else
    components: tuple[ComponentOutcome, ...] | None = None
    labels: tuple[LostLabels, ...]
    manifests: tuple[SpaceManifest, ...]
    not_covered: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class BodyV2(BodyV1):
    """A deletion with its time, its place in the ledger, and the code that did it."""

    version: ClassVar[int] = 2

    requested_at: str
    epoch: int  # number of the receipt
    probes: tuple[dict[str, Any], ...] | None  # None where the request asked for none
    code: dict[str, Any]
    environment: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class BodyV3(BodyV2):
    """A deletion with who asked for it: a key's id, `local` or `settings`; see Caller."""

    version: ClassVar[int] = 3

    requested_by: str


KINDS: dict[Any, type[BodyV1]] = {kind.version: kind for kind in (BodyV1, BodyV2)}


def written(body: BodyV1) -> dict[str, Any]:
    """Return the body as the JSON value that is stored, hashed and signed."""
    return {"version": body.version} | _json(body)


def read(stored: Any) -> BodyV1:
    """Return a stored body; members that are absent or malformed are empty.

    Whoever tampers with a body breaks the receipt's hash, but must not break its verification.
    """
    members = stored if isinstance(stored, dict) else {}
    version = members.get("version")
    return _built(KINDS.get(version if type(version) is int else None, BodyV3), members)


def _json(value: Any) -> Any:
    if is_dataclass(value):
        members = ((member, getattr(value, member.name)) for member in fields(value))
        return {
            member.name: _json(content)
            for member, content in members
            if content is not None or member.default is MISSING
        }
    return [_json(entry) for entry in value] if isinstance(value, tuple) else value


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def _built(kind: type, stored: Any) -> Any:
    members = stored if isinstance(stored, dict) else {}
    hints = _hints(kind)
    names = [member.name for member in fields(kind)]
    return kind(**{name: _member(hints[name], members.get(name)) for name in names})


def _member(hint: Any, stored: Any) -> Any:
    """Return the stored value if it is of this type, else an empty value of this type."""
    if get_origin(hint) is UnionType:  # of a type and None
        return None if stored is None else _member(get_args(hint)[0], stored)
    if is_dataclass(hint):
        return _built(hint, stored)  # type: ignore[arg-type]
    if get_origin(hint) is tuple:
        entries = stored if isinstance(stored, list) else []
        kind = get_args(hint)[0]
        pairs = ((_member(kind, entry), entry) for entry in entries)
        return tuple(member for member, entry in pairs if _json(member) == entry)
    kind = get_origin(hint) or hint
    return stored if type(stored) is kind else kind()
