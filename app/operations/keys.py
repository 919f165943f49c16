"""API keys made and revoked; this process knows of it at once."""

from app.access import keys
from app.access.callers import LOCAL, KeyLimits
from app.database.sessions import on_commit, transaction
from app.errors import Conflict
from app.parts import Parts
from tangent_composer.schemas.keys import CreatedKey, KeyIn, KeyOut


def create_key(parts: Parts, request: KeyIn) -> CreatedKey:
    """Make a key.

    Raises:
        Conflict: `first_key_not_admin`.
    """
    with transaction(parts.sessions) as session:
        first = parts.caller.id == LOCAL and not keys.has_admin(session)
        if first and "admin" not in request.scopes:
            raise Conflict(
                "first_key_not_admin",
                "once there is a key, every request needs one, and this one could make no other: "
                "make one with scope admin first",
            )
        row, token = keys.create(
            session,
            name=request.name,
            scopes=request.scopes,
            expires_at=request.expires_at,
            limits=KeyLimits(**request.limits.model_dump()),
        )
        on_commit(session, parts.admission.keyring.forget)
        return CreatedKey.of(row, key=token)


def revoke_key(parts: Parts, key_id: str) -> KeyOut:
    """Revoke the key for good; one that is revoked already stays as it is.

    Raises:
        NotFound: as `keys.get`.
    """
    with transaction(parts.sessions) as session:
        shown = KeyOut.of(keys.revoke(session, key_id))
        on_commit(session, parts.admission.keyring.forget)
        return shown
