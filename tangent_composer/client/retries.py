"""Repetitions: the requests that are sent again, and the pauses before.

A request is sent again where that cannot do anything twice: it only reads, it carries an
idempotency key, or the service said that it did not begin with it.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

BUSY = (429, 503)  # the service did not do it, but for these two of the answers with 503
ENDED = ("service_ending", "outcome_unknown", "answer_overtaken", "lease_expired")  # may be done
DONE = ("cleanup_unfinished",)  # was done
LOST = (502, 504)  # a proxy's: it may have been done
SAFE = ("GET", "HEAD", "PUT", "DELETE")


@dataclass(frozen=True)
class Retries:
    """The number of times that a request is sent again, and the longest pause before.

    A service that asks for a longer pause is not asked again: its refusal is the answer.
    """

    most: int = 5
    longest_seconds: float = 60.0
    first_seconds: float = 0.25

    def pause(self, attempt: int, status: int | None, headers: Mapping[str, str]) -> float | None:
        """Return the seconds before the next attempt; None if there is to be none.

        attempt: number of the one that has failed, from 1. status: None if nothing answered.
        """
        if attempt > self.most or status not in (None, *BUSY, *LOST):
            return None
        asked = retry_after(headers.get("retry-after"))
        if asked is not None:
            return asked if asked <= self.longest_seconds else None
        grown = self.first_seconds * 2.0 ** (attempt - 1)
        return min(grown, self.longest_seconds) * random.uniform(0.75, 1.25)  # noqa: S311  # no secret


def retry_after(value: str | None) -> float | None:
    """Return the seconds that a Retry-After asks for; None if it is none."""
    if value is None:
        return None
    if value.strip().isdecimal():
        return float(value)
    try:
        until = parsedate_to_datetime(value)
    except ValueError:
        return None
    until = until if until.tzinfo else until.replace(tzinfo=UTC)
    return max(0.0, (until - datetime.now(UTC)).total_seconds())


def may_be_done(status: int, code: str) -> bool:
    """Return whether the service may have done what it gave such an answer to."""
    return status in LOST or code in ENDED


def may_repeat(method: str, *, key: str | None, reads: bool) -> bool:
    """Return whether a request may be sent again although it may have been done."""
    return reads or key is not None or method in SAFE
