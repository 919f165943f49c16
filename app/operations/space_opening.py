"""New spaces: the backbone opened, then the row."""

from pathlib import Path

from app.database.sessions import transaction
from app.errors import Conflict, Invalid, NotReady
from app.parts import Parts
from app.schemas.spaces import SpaceIn, SpaceOut
from app.store import quotas, spaces

RETRY_SECONDS = 10
WEIGHTS = ".safetensors"


def open_space(parts: Parts, request: SpaceIn) -> SpaceOut:
    """Open the backbone, downloading it where it is missing, and create the space.

    Raises:
        Invalid: `too_many_labels`, or `unknown_backbone` for a file that requests cannot name.
        Conflict: `space_exists`.
        Forbidden: `quota_exceeded`.
        NotReady: `spaces_opening` while as many are opened as may be at a time.
        TangentError: the backbone or the scope cannot be opened.
    """
    _check_number_of_labels(request, parts.settings.max_labels)
    with transaction(parts.reading) as session:  # before opening, which takes long
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
        quotas.check(session, max_spaces=1)
        space = spaces.create(
            session,
            name=request.name,
            opened=facts,
            default_rule=request.default_rule,
            shared=request.shared,
        )
        parts.spaces.of(space)  # notes that it has opened
        return SpaceOut.of(space, spaces.labels(session, space), parts.spaces)


def _check_number_of_labels(request: SpaceIn, most: int) -> None:
    if len(request.labels) > most:
        raise Invalid(
            "too_many_labels",
            f"{len(request.labels)} labels are declared, the most is {most}",
        )


def permitted(backbone: str, folder: Path | None) -> str:
    """Return the backbone's name as a space keeps it: a file by its full path below the folder.

    Every file that is not to be had gets the same answer, whether or not it exists.

    Raises:
        Invalid: `unknown_backbone`.
    """
    architecture, _, path = backbone.rpartition(":")
    if not path.endswith(WEIGHTS):
        return backbone
    if folder is None:
        raise Invalid(
            "unknown_backbone",
            "no weights files are offered here: set TANGENT_WEIGHTS_DIR to a folder with them, or "
            "use a shipped or a timm name",
        )
    try:
        root = folder.resolve(strict=True)
        file = (root / path).resolve(strict=True)
        offered = file.is_relative_to(root) and file.is_file() and file.suffix == WEIGHTS
    except (OSError, ValueError, RuntimeError):  # missing, forbidden, too long, a loop of links
        offered = False
    if not offered:
        raise Invalid(
            "unknown_backbone",
            f"the folder of weights has no file {path!r}: put it below TANGENT_WEIGHTS_DIR, or "
            "use a shipped or a timm name",
        )
    return f"{architecture}:{file}" if architecture else str(file)
