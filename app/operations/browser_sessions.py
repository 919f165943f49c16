"""Sessions of browsers begun and ended; this process knows of it at once."""

from collections.abc import Sequence

from app.access import browser_sessions, keys
from app.access.callers import LOCAL
from app.access.session_admission import Holder, Seen
from app.database.sessions import on_commit, transaction
from app.errors import Conflict
from app.parts import Parts
from tangent_composer.schemas.sessions import SessionKey, SessionOut


def begin_session(parts: Parts, key: str, old: Sequence[str]) -> tuple[SessionOut, str]:
    """Begin a session of the key, whose caller the parts are bound to; return its token too.

    `old` are tokens that the browser has by now: their sessions end.

    Raises:
        Conflict: `no_key_needed`.
    """
    if parts.caller.id == LOCAL:
        raise Conflict(
            "no_key_needed",
            "this service answers without a key, so no session is needed: ask it right away",
        )
    admission = parts.session_admission
    with transaction(parts.sessions) as session:
        browser_sessions.end(session, old)
        _, token = browser_sessions.begin(
            session,
            key_id=parts.caller.id,
            key_sha256=keys.hash_of(key),
            seconds=parts.settings.session_seconds,
        )
        on_commit(session, admission.sessions.forget)
    return shown(parts, admission.read([token])), token


def end_sessions(parts: Parts, tokens: Sequence[str]) -> None:
    """End the sessions with these tokens, those of them that there are."""
    with transaction(parts.sessions) as session:
        browser_sessions.end(session, tokens)
        on_commit(session, parts.session_admission.sessions.forget)


def shown(parts: Parts, seen: Seen) -> SessionOut:
    """Return what a browser is told about its session."""
    admission = parts.session_admission
    holder, required = admission.holder(seen), admission.needs_key(seen)
    if holder is None:
        return SessionOut(
            required=required, authenticated=False, key=None, csrf_token=None, expires_at=None
        )
    return SessionOut(
        required=required,
        authenticated=True,
        key=_key_of(holder),
        csrf_token=browser_sessions.csrf_token(holder.session.token),
        expires_at=holder.session.expires_at,
    )


def _key_of(holder: Holder) -> SessionKey:
    caller = holder.caller
    scopes = [scope for scope in keys.SCOPES if scope in caller.scopes]
    return SessionKey.model_validate({"id": caller.id, "name": holder.name, "scopes": scopes})
