"""Cursor pages: `?after=<id>&limit=<n>` in, `{data, has_more, next}` out.

rows = lists.datasets(session, page.asked(order), label=label)
return page.listing(rows, DatasetSummary.of, cursor=partial(lists.cursor, Dataset, order))
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from fastapi import Query

from app.database.keyset import MAX_CURSOR, check_id
from app.database.row_checksums import was_kept
from app.store.lists import Asked
from tangent_composer.schemas.pages import Listing

Row = TypeVar("Row")
Item = TypeVar("Item")


def _id(row: Any) -> str:
    return row.id


@dataclass(frozen=True)
class Page:
    """A request for a page; routes fetch `limit + 1` rows, so that `has_more` is exact."""

    after: str | None
    limit: int

    @property
    def after_id(self) -> str | None:
        """Return `after` of a list that is in the order of ids.

        Raises:
            Invalid: `bad_cursor`.
        """
        return check_id(self.after)

    def asked(self, order: str) -> Asked:
        """Return the page in this order, with one row more, for the list's query."""
        return Asked(self.after, self.limit + 1, order)

    def listing(
        self,
        rows: Sequence[Row],
        render: Callable[[Row], Item],
        name: Callable[[Row], str] = _id,
        cursor: Callable[[Row], str] | None = None,
    ) -> Listing[Item]:
        """Return at most `limit` rendered rows.

        `name` gives a row's id or name, and `cursor` its value of `after` where that is another.
        """
        shown, more = rows[: self.limit], len(rows) > self.limit
        return Listing(
            data=[render(row) for row in shown if not was_kept(row)],
            damaged=[name(row) for row in shown if was_kept(row)],
            has_more=more,
            next=(cursor or name)(shown[-1]) if more else None,
        )


def page(
    after: Annotated[
        str | None, Query(max_length=MAX_CURSOR, description="`next` of the page before this one")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=100, description="most entries on the page")] = 20,
) -> Page:
    """Return the page that the query requests."""
    return Page(after, limit)
