"""The settings of workers: their signs of life, their attempts, and the scrub."""

from typing import Self

from pydantic import Field, model_validator

from app.settings.limits import MAX_SECONDS, Limits

MIN_BEATS = 2  # a worker that misses one is not dead


class OfWorkers(Limits):
    """A part of app.settings.Settings."""

    worker_heartbeat_seconds: float = Field(
        2.0,
        gt=0,
        le=MAX_SECONDS,
        description="seconds between a worker's heartbeats, or an API process's for its jobs",
    )
    worker_dead_seconds: float = Field(
        15.0,
        gt=0,
        le=MAX_SECONDS,
        description="seconds without a heartbeat after which a worker's trainings, or an API "
        "process's jobs, go to others; at least twice the seconds between two",
    )
    scrub_bytes_per_second: int = Field(
        10 * 2**20,
        ge=0,
        description="rate at which a worker reads all files through to find damage; 0: never",
    )
    scrub_period_seconds: float = Field(
        7 * 86400.0,
        gt=0,
        le=1e9,  # thirty years: a time has to end before the year 10000
        description="seconds from the begin of one such reading to the next's",
    )
    max_attempts: int = Field(3, ge=1, description="number of attempts before a training fails")

    @model_validator(mode="after")
    def _outlives_a_late_heartbeat(self) -> Self:
        beat, dead = self.worker_heartbeat_seconds, self.worker_dead_seconds
        if dead < MIN_BEATS * beat:
            raise ValueError(
                f"TANGENT_WORKER_DEAD_SECONDS is {dead:g} and TANGENT_WORKER_HEARTBEAT_SECONDS is "
                f"{beat:g}: workers would be taken for dead while they work; make the first at "
                f"least {MIN_BEATS} times the second"
            )
        return self
