"""A decoder with small limits, and an image that takes it long."""

from dataclasses import dataclass
from threading import Thread
from time import sleep

from app.images.budget import Budget
from app.images.decoder import Decoder
from tests.support import costly_images

SLOW = costly_images.jpeg_of_scans(2000, 2000, 20_000)  # about ten seconds


@dataclass(frozen=True)
class Limits:
    """The settings of a decoder under test."""

    max_image_bytes: int = 20 * 2**20
    max_image_pixels: int = 50_000_000
    max_decode_seconds: float = 0.6


def examined(under_test: Decoder, *files: bytes, budget: Budget | None = None) -> list:
    """Return the outcome for each file."""
    return under_test.examine(files, budget or Budget())


def decoding(under_test: Decoder, *files: bytes) -> tuple[Thread, list]:
    """Start to examine the files; return the thread and the list that has its outcome at last."""
    outcome: list = []

    def work() -> None:
        try:
            outcome.append(examined(under_test, *files))
        except Exception as error:
            outcome.append(error)

    thread = Thread(target=work)
    thread.start()
    while not under_test._busy:
        assert thread.is_alive()
        sleep(0.001)
    return thread, outcome
