"""Spaces shared, and handed over to other keys."""

from app.access import keys
from app.database.sessions import transaction
from app.errors import Forbidden
from app.parts import Parts
from app.store import spaces
from tangent_composer.schemas.spaces import SpaceChange, SpaceOut


def change_space(parts: Parts, name: str, request: SpaceChange) -> SpaceOut:
    """Share the space, or give it another owner, as the request says.

    Raises:
        NotFound: `space_not_found`, `key_not_found`.
        Forbidden: `not_the_owner`.
    """
    given, caller = request.model_fields_set, parts.caller
    with transaction(parts.sessions) as session:
        space = spaces.get(session, name)
        if not caller.is_admin and ("owner" in given or space.owner != caller.id):
            raise Forbidden(
                "not_the_owner",
                f"only the owner of space {name!r} shares it, and only a key with scope admin "
                "gives it another owner",
            )
        if "shared" in given and request.shared is not None:
            space.shared = request.shared
        if "owner" in given:
            space.owner = None if request.owner is None else keys.get(session, request.owner).id
        session.flush()
        return SpaceOut.of(space, spaces.labels(session, space), parts.spaces)
