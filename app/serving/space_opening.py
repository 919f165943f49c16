"""New spaces: the backbone opened, then the row."""

from app.errors import Conflict, Invalid
from app.parts import Parts
from app.schemas.spaces import SpaceIn, SpaceOut
from app.store import spaces
from app.store.db import transaction


def open_space(parts: Parts, request: SpaceIn) -> SpaceOut:
    """Open the backbone, downloading it where it is missing, and create the space.

    Raises:
        Invalid: `too_many_labels`.
        Conflict: `space_exists`.
        TangentError: the backbone or the scope cannot be opened.
    """
    most = parts.settings.max_labels
    if len(request.labels) > most:
        raise Invalid(
            "too_many_labels",
            f"{len(request.labels)} labels are declared, the most is {most}",
        )
    with transaction(parts.reading) as session:  # before opening, which takes long
        if spaces.exists(session, request.name):
            raise Conflict("space_exists", f"space {request.name!r} exists: choose another name")
    facts = spaces.facts(parts.engine.open(request.backbone, request.scope, request.labels))
    with transaction(parts.sessions) as session:
        space = spaces.create(
            session,
            name=request.name,
            opened=facts,
            default_rule=request.default_rule,
            shared=request.shared,
        )
        parts.engine.space(space)  # notes that it has opened
        return SpaceOut.of(space, spaces.labels(session, space), parts.engine.spaces)
