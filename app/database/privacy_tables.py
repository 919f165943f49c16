"""The SQL tables of privacy spent: one row for every private training that was asked for.

A spend counts for the datasets that share images with its own. What a deletion leaves of that is a
row for each dataset and spend, without a hash of any image.
"""

from datetime import datetime

from sqlalchemy import ForeignKey, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.database.columns import Base, Sealed, now
from app.database.ids import ordered


class PrivacySpend(Sealed, Base):
    """A release of a dataset with noise; it stays when its component or dataset is deleted."""

    __tablename__ = "privacy_spend"

    id: Mapped[str] = mapped_column(primary_key=True, default=ordered("spend"))
    dataset_id: Mapped[str] = mapped_column(index=True)
    component_id: Mapped[str] = mapped_column(unique=True)
    epsilon: Mapped[float]
    delta: Mapped[float]
    noise_multiplier: Mapped[float]  # sigma over the largest change that one image makes
    unit: Mapped[str] = mapped_column(default="image")  # or group
    largest_group: Mapped[int | None]  # images of the dataset's, then; None: not noted
    released: Mapped[bool] = mapped_column(default=False)  # has its component ever been ready
    created_at: Mapped[datetime] = mapped_column(default=now)


class CarriedSpend(Sealed, Base):
    """A spend of another dataset that counts for this one, whichever images are deleted."""

    __tablename__ = "carried_spend"
    __table_args__ = (UniqueConstraint("dataset_id", "spend_id"),)

    id: Mapped[str] = mapped_column(primary_key=True, default=ordered("carried"))
    dataset_id: Mapped[str]  # for which it counts
    spend_id: Mapped[str] = mapped_column(ForeignKey("privacy_spend.id"), index=True)
    unit: Mapped[str]  # shared then: image, for every budget; group, by name, for those of groups
    largest_group: Mapped[int]  # images of the dataset's, the most at any such deletion
    created_at: Mapped[datetime] = mapped_column(default=now)
