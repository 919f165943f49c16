"""The shape of every list: one page and where the next one starts."""

from typing import Generic, TypeVar

from pydantic import BaseModel, Field, SerializerFunctionWrapHandler, model_serializer

Item = TypeVar("Item")


class Listing(BaseModel, Generic[Item]):
    """Ask for the next page with `?after=<next>`, as long as `has_more` is true."""

    data: list[Item]
    has_more: bool = Field(description="whether more follow after this page")
    next: str | None = Field(description="value of `after` for the next page; null on the last one")
    damaged: list[str] = Field(
        [],
        description="ids or names on this page that `data` is without, as their rows are damaged "
        "in the database: the operator has to restore a backup; not there if all are whole",
    )

    @model_serializer(mode="wrap")
    def _only_with_damage(self, shown: SerializerFunctionWrapHandler):  # type: ignore[no-untyped-def]  # a type would replace the schema
        """Leave the member out of whole pages, as earlier versions read no other ones."""
        page = shown(self)
        if not self.damaged:
            del page["damaged"]
        return page
