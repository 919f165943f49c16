"""Admission by the cookies of browsers' sessions: the caller is that of the session's key.

A session ends with its key. It has the key's scopes, limits and quotas, and a request by it counts
as the key's. A cookie is sent by browsers unasked, so what changes something must bring along the
token that only a page of this service can read.
"""

import hmac
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from app.access import browser_sessions
from app.access.admission import Admission
from app.access.callers import LOCAL_CALLER, SETTINGS, Caller
from app.access.keyring import NO_KEY, Found, Kept
from app.access.known_sessions import Known, KnownSessions, Looked
from app.errors import Forbidden, Unauthorized

MAX_COOKIES = 4  # of our name that are looked at: those of services on other paths come along
CSRF_HEADER = "X-CSRF-Token"
SETTINGS_NAME = "TANGENT_API_KEY"
BEGIN = "send the key to POST /session, or with each request as Authorization: Bearer <key>"


@dataclass(frozen=True)
class Seen:
    """The session that one of the cookies is of, if any is, and what is known of its key."""

    session: Known | None
    key: Found


@dataclass(frozen=True)
class Holder:
    """The caller by a session, and the name of its key."""

    caller: Caller
    name: str
    session: Known


class SessionAdmission:
    """Sessions of browsers, as one process admits them."""

    def __init__(self, admission: Admission, sessions: KnownSessions) -> None:
        self._admission, self.sessions = admission, sessions

    def known(self, cookies: Sequence[str]) -> Seen | None:
        """Return what the others need to know of the cookies; None if the database must be asked.

        `cookies` are well-formed tokens. The first that is a session's counts.
        """
        return self._seen(cookies, self.sessions.kept, self._admission.keyring.kept_by_id)

    def read(self, cookies: Sequence[str]) -> Seen:
        """Return the same; look into the database for what is not known."""
        sessions, keyring = self.sessions, self._admission.keyring
        seen = self._seen(
            cookies,
            lambda token: sessions.kept(token) or sessions.read(token),
            lambda key_id: keyring.kept_by_id(key_id) or keyring.read_by_id(key_id),
        )
        assert seen is not None
        return seen

    def _seen(
        self,
        cookies: Sequence[str],
        session_of: Callable[[str], Looked | None],
        key_of: Callable[[str], Found | None],
    ) -> Seen | None:
        session: Known | None = None
        for token in cookies[:MAX_COOKIES]:
            looked = session_of(token)
            if looked is None:
                return None
            if looked.session is not None and not looked.session.is_over:
                session = looked.session
                break
        if session is not None and session.key_id == SETTINGS:
            return Seen(session, Found(None, True))
        if session is None and self._admission.own_hash is not None:
            return Seen(None, Found(None, True))
        key = key_of(session.key_id if session else NO_KEY)
        return None if key is None else Seen(session, key)

    def needs_key(self, seen: Seen) -> bool:
        """Return whether the service answers only to those who have a key."""
        return not self._admission.is_open(seen.key)

    def holder(self, seen: Seen) -> Holder | None:
        """Return who has the session; None without one, or if it ended with its key."""
        session, key = seen.session, self._key_of(seen)
        if session is None or not self.needs_key(seen):
            return None
        if session.key_id == SETTINGS:
            is_same = session.key_sha256 == self._admission.own_hash
            return Holder(Caller(SETTINGS), SETTINGS_NAME, session) if is_same else None
        if key is None or key.caller.revoked_at is not None or key.caller.has_expired:
            return None
        return Holder(key.caller, key.name, session)

    def admit(self, seen: Seen, *, changes: bool, csrf_token: str | None) -> Caller:
        """Return the caller that sends the cookies, counting the request.

        Raises:
            Unauthorized: `session_ended`; `api_key_expired`, `api_key_revoked`.
            Forbidden: as `check_csrf`, where the request `changes` something.
            TooManyRequests: `rate_limited`.
        """
        if self._admission.is_open(seen.key):
            return LOCAL_CALLER
        session, key = seen.session, self._key_of(seen)
        if session is not None and changes:
            check_csrf(session.token, csrf_token)
        if key is not None:
            return self._admission.admit_key(key)
        holder = self.holder(seen)
        if holder is None:
            raise Unauthorized(
                "session_ended", f"the session of this browser is over, or its key is: {BEGIN}"
            )
        return holder.caller

    def _key_of(self, seen: Seen) -> Kept | None:
        """Return the row of the session's key, if it is still the key that began the session."""
        session, key = seen.session, seen.key.key
        if session is None or key is None or key.sha256 != session.key_sha256:
            return None
        return key


def check_csrf(token: str, sent: str | None) -> None:
    """Check that a request with this session's cookie comes from a page of the service.

    Raises:
        Forbidden: `csrf_token_missing`, `csrf_token_wrong`.
    """
    how = f"send {CSRF_HEADER} with the csrf_token of GET /session"
    if sent is None:
        raise Forbidden(
            "csrf_token_missing",
            f"a change by a browser's session needs more than its cookie: {how}",
        )
    if not hmac.compare_digest(browser_sessions.csrf_token(token).encode(), sent.encode()):
        raise Forbidden("csrf_token_wrong", f"{CSRF_HEADER} is not this session's: {how}")
