"""New spaces: the backbone opened, then the row."""

from functools import partial
from pathlib import Path
from typing import Any

from app.access import quotas
from app.database.sessions import Session, transaction
from app.errors import Conflict, Invalid, NotReady
from app.parts import Parts
from app.store import spaces
from app.store.idempotency import Once
from tangent.backbones.weights_folder import (
    CONFIGURATION,
    SAFETENSORS,
    WEIGHTS,
    check_format,
    divided,
    is_of_hub,
    weights_in,
)
from tangent.errors import UnknownBackbone
from tangent_composer.schemas.spaces import SpaceIn, SpaceOut

RETRY_SECONDS = 10


def open_space(parts: Parts, request: SpaceIn, once: Once) -> SpaceOut:
    """Open the backbone, downloading it where it is missing, and create the space, once for a key.

    Raises:
        Invalid, Gone: as `Once.run`.
        Invalid: `too_many_labels`, or `unknown_backbone` for a file that requests cannot name.
        Conflict: `space_exists`.
        Forbidden: `quota_exceeded`.
        NotReady: `spaces_opening` while as many are opened as may be at a time.
        TangentError: the backbone or the scope cannot be opened.
    """
    _check_number_of_labels(request, parts.settings.max_labels)
    with transaction(parts.reading) as session:  # before opening, which takes long
        if (known := once.known(session, request)) is not None:
            return _shown(session, parts, known)
        if spaces.exists(session, request.name):
            raise Conflict("space_exists", f"space {request.name!r} exists: choose another name")
        quotas.check(session, max_spaces=1)
    backbone = permitted(request.backbone, parts.settings.weights_dir)
    if not parts.space_openings.acquire(blocking=False):
        raise NotReady(
            "spaces_opening",
            "other spaces are being opened, which takes memory and may take a download: try again",
            retry_after=RETRY_SECONDS,
        )
    try:
        facts = spaces.facts(parts.spaces.open(backbone, request.scope, request.labels))
    finally:
        parts.space_openings.release()
    with transaction(parts.sessions) as session:
        create = partial(_create, session, parts, request, facts)
        return _shown(session, parts, once.run(session, request, create))


def _create(session: Session, parts: Parts, request: SpaceIn, facts: dict[str, Any]) -> str:
    quotas.check(session, max_spaces=1)
    space = spaces.create(
        session,
        name=request.name,
        opened=facts,
        default_rule=request.default_rule,
        shared=request.shared,
    )
    parts.spaces.of(space)  # notes that it has opened
    return space.name


def _shown(session: Session, parts: Parts, name: str) -> SpaceOut:
    space = spaces.get(session, name)
    return SpaceOut.of(space, spaces.labels(session, space), parts.spaces)


def _check_number_of_labels(request: SpaceIn, most: int) -> None:
    if len(request.labels) > most:
        raise Invalid(
            "too_many_labels",
            f"{len(request.labels)} labels are declared, the most is {most}",
        )


def permitted(backbone: str, folder: Path | None) -> str:
    """Return the backbone's name as a space keeps it: a file or folder by its full path.

    It lies below `folder`. Everything that is not to be had gets the same answer, whether or not it
    exists.

    Raises:
        Invalid: `unknown_backbone`.
    """
    if is_of_hub(backbone):
        return backbone
    check_format(backbone)
    architecture, path = divided(backbone)
    if not path:
        return backbone
    if folder is None:
        raise Invalid(
            "unknown_backbone",
            "no weights files are offered here: set TANGENT_WEIGHTS_DIR to a folder with them, or "
            "use a shipped or a timm name",
        )
    found = _offered(path, folder)
    if found is None:
        raise Invalid("unknown_backbone", _not_offered(path))
    return f"{architecture}:{found}" if architecture else str(found)


def _not_offered(path: str) -> str:
    if path.endswith(SAFETENSORS):
        return (
            f"the folder of weights has no file {path!r}: put it below TANGENT_WEIGHTS_DIR, or "
            "use a shipped or a timm name"
        )
    return (
        f"the folder of weights has no folder {path!r} with {WEIGHTS} and {CONFIGURATION}: put it "
        "below TANGENT_WEIGHTS_DIR, use a shipped or a timm name, or a repository of the Hugging "
        "Face hub as hf-hub:<owner>/<name>"
    )


def _offered(path: str, folder: Path) -> Path | None:
    """Return the full path of a file or folder of weights, all of which lies below the folder."""
    try:
        root = folder.resolve(strict=True)
        found = (root / path).resolve(strict=True)
        if not found.is_relative_to(root):
            return None
        if path.endswith(SAFETENSORS):
            return found if found.is_file() and found.suffix == SAFETENSORS else None
        if not found.is_dir():
            return None
        beside = found / CONFIGURATION
        read = [weights_in(found), *([beside] if beside.exists() else [])]
        return found if all(each.resolve().is_relative_to(root) for each in read) else None
    except (OSError, ValueError, RuntimeError) as error:  # missing, forbidden, a loop of links
        if isinstance(error, UnknownBackbone):  # below the folder, where it may be told of
            raise
        return None
