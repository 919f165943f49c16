"""Conventions that all tables share: names of constraints, column types and times."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import JSON, BigInteger, DateTime, Integer, MetaData, types
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from app.database.row_checksums import damaged_row

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_name)s",
    "uq": "uq_%(table_name)s_%(column_0_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}
Sequence = BigInteger().with_variant(Integer(), "sqlite")  # SQLite counts up INTEGER keys only


def now() -> datetime:
    """Return the present time in UTC."""
    return datetime.now(UTC)


def stamp(time: datetime) -> str:
    """Format a time for hashing and display: RFC 3339 in UTC, with microseconds."""
    return time.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


class UtcDateTime(types.TypeDecorator[datetime]):
    """Aware datetimes in UTC on every database."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Any) -> datetime | None:
        return value.astimezone(UTC) if value else None

    def result_processor(self, dialect: Any, coltype: Any) -> Any:
        read = super().result_processor(dialect, coltype)

        def checked(value: Any) -> Any:
            try:
                return value if read is None else read(value)
            except (TypeError, ValueError):
                raise damaged_row("a row with a time") from None

        return checked

    def process_result_value(self, value: datetime | None, dialect: Any) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map = {datetime: UtcDateTime(), dict[str, Any]: JSON, list[Any]: JSON}  # noqa: RUF012


class Sealed:
    """A table whose rows the database seals with a checksum; see app.database.row_checksums."""

    checksum: Mapped[str | None] = mapped_column(deferred=True, sort_order=999)

    if TYPE_CHECKING:
        intact: Mapped[bool]
