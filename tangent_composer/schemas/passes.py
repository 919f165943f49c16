"""Passes: the fields that evaluations and batch predictions share."""

from typing import Literal

from pydantic import BaseModel

PassStatus = Literal["queued", "running", "ready", "failed", "cancelled", "invalidated"]


class PassProgress(BaseModel):
    """The number of images that have been computed, noted every few seconds."""

    done: int
    total: int


class PassError(BaseModel):
    """The reason why a pass has failed."""

    code: str
    detail: str
