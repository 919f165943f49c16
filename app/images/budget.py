"""Budgets: the processor time that all images of one request together may take."""

from math import inf
from threading import Lock

from app.images.image_files import BadImage
from app.images.shares import Share

# Of the time that one image may usually take:
REQUEST_TIMES = 6.0  # for all images of a prediction together
ACCEPTED_TIMES = 4.0  # for an image that was accepted once
ADVICE = "save it again as JPEG or PNG, with fewer pixels"


class TooExpensive(BadImage):
    """Decoding this image takes more processor time than it may."""


class OutOfBudget(TooExpensive):
    """The images before this one have used up what all of them together may take."""


class Budget:
    """The seconds of a processor that are left to the images of one request.

    Several threads may use it. What a killed worker had used counts too.
    """

    def __init__(
        self,
        seconds: float = inf,
        *,
        is_patient: bool = False,
        times: float = 1.0,
        share: Share | None = None,
    ) -> None:
        """Give `seconds` to spend, of which the client's `share` tells other requests.

        A patient request waits for its turns as long as it takes. A single image may take `times`
        what one may usually take: an image that was accepted once should be decoded ever after, on
        a slower machine too.
        """
        self.seconds, self.is_patient, self._times = seconds, is_patient, times
        self.share = share or Share()
        self._spent, self._lock = 0.0, Lock()

    @property
    def spent(self) -> float:
        """Return the seconds used so far."""
        return self._spent

    def spend(self, seconds: float) -> None:
        """Count seconds as used, even beyond the budget."""
        with self._lock:
            self._spent += seconds
        self.share.spend(seconds)

    def end(self) -> None:
        """Leave nothing to spend, as nobody waits any more; the client's share is as it was."""
        with self._lock:
            self._spent = inf

    @property
    def rank(self) -> tuple[float, float]:
        """The numbers that decide who comes first: what the client had lately, and this request."""
        return self.share.level, self._spent

    def allowance(self, usual: float) -> float:
        """Return what the next image may take if `usual` seconds are usual.

        Raises:
            OutOfBudget: nothing is left.
        """
        left = self.seconds - self._spent
        if left <= 0:
            raise OutOfBudget(
                f"the images before it have used up the {self.seconds:g} seconds of a processor "
                f"that decoding may take here: send fewer images at a time, or {ADVICE}"
            )
        return min(self._times * usual, left)
