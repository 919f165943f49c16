"""Admission: the caller of a request by its token, or the reason why it is refused.

Without TANGENT_API_KEY and as long as no key was ever made, everyone who reaches the service is
the caller `local`, who may do everything. The service then listens on loopback only.
"""

import logging
from ipaddress import IPv6Address, ip_address
from math import ceil

from app.access import keys
from app.access.buckets import Buckets
from app.access.callers import LOCAL_CALLER, SETTINGS, Caller
from app.access.concurrency import Concurrency
from app.access.keyring import Found, Kept, Keyring
from app.errors import TooManyRequests, Unauthorized
from app.settings import Settings

log = logging.getLogger(__name__)

MAX_FAILURES = 10  # wrong keys of one address at once, and then in a minute
FAILURES_PER_SECOND = MAX_FAILURES / 60
MIN_LENGTH, MIN_LETTERS = 32, 8  # of a key that nobody can guess, as 16 random bytes in hex have
SEND = "send Authorization: Bearer <key>"


class Admission:
    """The keys of one process, and its counts of who has done how much."""

    def __init__(self, settings: Settings, keyring: Keyring) -> None:
        self.keyring, self.concurrency = keyring, Concurrency()
        self._own = settings.api_key
        self.own_hash = None if self._own is None else keys.hash_of(self._own)
        self._waits = self._own is not None and can_be_guessed(self._own)
        if self._waits:
            log.warning(
                "TANGENT_API_KEY can be guessed: an address that sends wrong keys has to wait with "
                "it too, until it has %d random characters",
                MIN_LENGTH,
            )
        self._failures, self._requests, self._images = Buckets(), Buckets(), Buckets()

    def known(self, token: str | None) -> Found | None:
        """Return what `admit` needs to know of the token; None if the database must be asked."""
        if self._own is not None and (token is None or keys.id_in(token) is None):
            return Found(None, True)  # no row can matter
        return self.keyring.kept(token)

    def is_open(self, found: Found) -> bool:
        """Return whether everybody who reaches the service may do everything."""
        return self._own is None and not found.any_key

    def admit(self, token: str | None, found: Found, address: str) -> Caller:
        """Return the caller that sends this token, counting the request.

        Raises:
            Unauthorized: `api_key_missing`, `api_key_wrong`, `api_key_expired`, `api_key_revoked`.
            TooManyRequests: `too_many_wrong_keys` from this address; `rate_limited`.
        """
        if self.is_open(found):
            return LOCAL_CALLER
        if token is None:
            raise Unauthorized("api_key_missing", f"this service answers only with a key: {SEND}")
        if found.key is not None and keys.fits(found.key.sha256, token):
            return self.admit_key(found.key)
        is_own = self.own_hash is not None and keys.fits(self.own_hash, token)
        if is_own and not self._waits:
            return Caller(SETTINGS)
        self._check_throttle(address)
        if is_own:
            return Caller(SETTINGS)
        self._failures.take(group(address), FAILURES_PER_SECOND, size=MAX_FAILURES)
        raise Unauthorized("api_key_wrong", f"this key is none of the service's: {SEND}")

    def _check_throttle(self, address: str) -> None:
        # A right key that nobody can guess has passed before. Where it can be guessed, even the
        # right guess must not show itself, or the throttle would not slow down any guessing.
        wait = self._failures.wait(group(address), FAILURES_PER_SECOND, size=MAX_FAILURES)
        if wait > 0:
            raise TooManyRequests(
                "too_many_wrong_keys",
                f"{MAX_FAILURES} wrong keys came from {address}: wait for the seconds in "
                f"Retry-After, then {SEND} with the right one",
                retry_after=ceil(wait),
            )

    def admit_key(self, key: Kept) -> Caller:
        """Return the caller with this key, whose secret has been shown, counting the request.

        Raises:
            Unauthorized: `api_key_expired`, `api_key_revoked`.
            TooManyRequests: `rate_limited`.
        """
        caller = key.caller
        if caller.revoked_at is not None:
            raise Unauthorized(
                "api_key_revoked", f"key {caller.id} was revoked: ask an administrator for another"
            )
        if caller.has_expired:
            raise Unauthorized(
                "api_key_expired",
                f"key {caller.id} has expired: ask an administrator for another",
            )
        rate = caller.limits.requests_per_second
        if rate is not None:
            _refuse(self._requests.take(caller.id, rate), f"{rate:g} requests/s", caller)
        self.keyring.note_use(key)
        return caller

    def take_images(self, caller: Caller, count: int) -> None:
        """Count images that go through the network.

        Raises:
            TooManyRequests: `rate_limited`.
        """
        rate = caller.limits.images_per_second
        if rate is not None:
            _refuse(self._images.take(caller.id, rate, count), f"{rate:g} images/s", caller)

    def charge_images(self, caller: Caller, count: int) -> None:
        """Count images that an admitted request turned out to need; later requests wait for it."""
        if (rate := caller.limits.images_per_second) is not None:
            self._images.charge(caller.id, rate, count)


def can_be_guessed(key: str) -> bool:
    """Return whether somebody may find the key by trying: it is short, or much the same letters."""
    return len(key) < MIN_LENGTH or len(set(key)) < MIN_LETTERS


def _refuse(wait: float, limit: str, caller: Caller) -> None:
    if wait > 0:
        raise TooManyRequests(
            "rate_limited",
            f"key {caller.id} has used up its {limit}: wait for the seconds in Retry-After",
            retry_after=ceil(wait),
            limit=limit,
        )


def group(address: str) -> str:
    """Return the address; of IPv6 its network of 64 bits, all of which one host may use."""
    try:
        found = ip_address(address)
    except ValueError:  # a socket's path, or nothing
        return address
    if isinstance(found, IPv6Address):
        mapped = found.ipv4_mapped
        return str(mapped) if mapped else found.exploded[:19]
    return address
