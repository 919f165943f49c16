"""The SQL tables of passes: evaluations and batch predictions, which API processes compute.

Who computes one, and how far it has come, is in the columns that both have; see app.passes.queue.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, ForeignKey
from sqlalchemy.orm import Mapped, declared_attr, mapped_column

from app.database.columns import Base, Sealed, now
from app.database.ids import ordered

STATUSES = ("queued", "running", "ready", "failed", "cancelled", "invalidated")
ACTIVE = STATUSES[:2]  # of a pass that has not ended


class PassColumns:
    """The columns of a dataset's or an archive's way through a selection of components."""

    status: Mapped[str] = mapped_column(index=True)  # one of STATUSES
    split: Mapped[str | None]  # train, val, test, or none: without one; None: all images
    fitted_to: Mapped[str | None] = mapped_column(index=True)  # dataset of its weights, if any
    selection: Mapped[dict[str, Any]]  # composition, rule, components [{id, weight, sha256}]
    # what is computed, until the end: rule and parts [{id, weight, sha256}], and options
    model: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    done: Mapped[int] = mapped_column(default=0)  # images
    total: Mapped[int] = mapped_column(default=0)
    attempt: Mapped[int] = mapped_column(default=0)  # number of claims; the last one may publish
    lost: Mapped[int] = mapped_column(default=0)  # attempts that ended without a word
    holder: Mapped[str | None]  # who computes it: a process's id and the runner's name
    beats: Mapped[int] = mapped_column(BigInteger, default=0)  # signs of life of the holder
    error: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))  # code, detail
    invalidated_by: Mapped[str | None]  # receipt
    created_by: Mapped[str | None]  # a key's id, for its quotas
    created_at: Mapped[datetime] = mapped_column(default=now)
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]

    @declared_attr
    def space(self) -> Mapped[str]:
        """Return the column of the selection's space: whoever may see it may see the pass."""
        return mapped_column(ForeignKey("space.name"), index=True)

    @declared_attr
    def dataset_id(self) -> Mapped[str | None]:
        """Return the column of the dataset; None for an archive, or once it was deleted."""
        return mapped_column(ForeignKey("dataset.id", ondelete="SET NULL"), index=True)


class Evaluation(PassColumns, Sealed, Base):
    __tablename__ = "evaluation"

    id: Mapped[str] = mapped_column(primary_key=True, default=ordered("ev"))
    result: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))


class EvaluationAnswers(Sealed, Base):
    """The answers to single images, see app.passes.answers; no list of evaluations loads them."""

    __tablename__ = "evaluation_answers"

    evaluation_id: Mapped[str] = mapped_column(
        ForeignKey("evaluation.id", ondelete="CASCADE"), primary_key=True
    )
    labels: Mapped[list[Any]]  # that were answered
    answered: Mapped[str]  # numbers of labels by the images' places, packed


class EvaluationMember(Sealed, Base):
    __tablename__ = "evaluation_member"

    evaluation_id: Mapped[str] = mapped_column(
        ForeignKey("evaluation.id", ondelete="CASCADE"), primary_key=True
    )
    component_id: Mapped[str] = mapped_column(primary_key=True, index=True)
    used: Mapped[bool] = mapped_column(default=True)  # False: the result is without it, see damage


class BatchPrediction(PassColumns, Sealed, Base):
    __tablename__ = "batch_prediction"

    id: Mapped[str] = mapped_column(primary_key=True, default=ordered("bp"))
    # blob: the archive's accepted images and their list, until the end; None: of a dataset
    archive_key: Mapped[str | None]
    archive: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))  # its numbers
    jsonl_key: Mapped[str | None]  # blobs: the results; set with status ready
    jsonl_sha256: Mapped[str | None]
    csv_key: Mapped[str | None]
    csv_sha256: Mapped[str | None]
    bytes: Mapped[int | None] = mapped_column(BigInteger)  # of all its blobs
    num_errors: Mapped[int] = mapped_column(default=0)  # images that have an error for an answer


class BatchPredictionMember(Sealed, Base):
    __tablename__ = "batch_prediction_member"

    batch_prediction_id: Mapped[str] = mapped_column(
        ForeignKey("batch_prediction.id", ondelete="CASCADE"), primary_key=True
    )
    component_id: Mapped[str] = mapped_column(primary_key=True, index=True)
    used: Mapped[bool] = mapped_column(default=True)  # False: the results are without it
