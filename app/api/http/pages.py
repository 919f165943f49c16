"""Cursor pages: `?after=<id>&limit=<n>` in, `{data, has_more, next}` out.

rows = components.list_(session, after=page.after, limit=page.limit + 1)
return page.listing(rows, ComponentOut.of)
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from fastapi import Query

from app.database.row_checksums import was_kept
from app.schemas.pages import Listing

Row = TypeVar("Row")
Item = TypeVar("Item")


def _id(row: Any) -> str:
    return row.id


@dataclass(frozen=True)
class Page:
    """A request for a page; routes fetch `limit + 1` rows, so that `has_more` is exact."""

    after: str | None
    limit: int

    def listing(
        self, rows: Sequence[Row], render: Callable[[Row], Item], cursor: Callable[[Row], str] = _id
    ) -> Listing[Item]:
        """Return at most `limit` rendered rows; `cursor` gives a row's value of `after`."""
        shown, more = rows[: self.limit], len(rows) > self.limit
        return Listing(
            data=[render(row) for row in shown if not was_kept(row)],
            damaged=[cursor(row) for row in shown if was_kept(row)],
            has_more=more,
            next=cursor(shown[-1]) if more else None,
        )


def page(
    after: Annotated[
        str | None, Query(max_length=255, description="`next` of the page before this one")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=100, description="most entries on the page")] = 20,
) -> Page:
    """Return the page that the query requests."""
    return Page(after, limit)
