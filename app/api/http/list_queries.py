"""Query parameters of lists: their order, and pairs of metadata that all entries have.

page: PageDep, order: AgeOrName = "created_at", metadata: MetadataDep
rows = lists.datasets(session, page.asked(order), metadata=metadata)
"""

from typing import Annotated, Any, Literal

from fastapi import Depends, Query, Request
from fastapi.exceptions import RequestValidationError

from tangent_composer.schemas.names import MAX_NOTES, ComposedText

METADATA = "metadata."
MAX_NAME, MAX_TEXT = 64, 512  # characters, as metadata have them
TOLD = "a minus sign turns it round; send it again with every page"

Age = Annotated[Literal["created_at", "-created_at"], Query(description=TOLD)]
AgeOrName = Annotated[
    Literal["created_at", "-created_at", "name", "-name"], Query(description=TOLD)
]
NameOrAge = Annotated[
    Literal["name", "-name", "created_at", "-created_at"], Query(description=TOLD)
]
NameOrTimes = Annotated[
    Literal["name", "-name", "created_at", "-created_at", "updated_at", "-updated_at"],
    Query(description=TOLD),
]
Filter = Annotated[str | None, Query(max_length=64)]
NameFilter = Annotated[ComposedText | None, Query(max_length=255, description="the whole name")]
LabelFilter = Annotated[
    str | None, Query(max_length=255, description="those with images of this label")
]
# In the document, as OpenAPI has no parameters whose names a client makes; see query_names.
BY_METADATA: dict[str, Any] = {
    "parameters": [
        {
            "name": f"{METADATA}*",
            "in": "query",
            "required": False,
            "description": "in place of the * a name of the metadata, such as "
            "`metadata.contract=17`: those that have this text there. Several may be sent",
            "schema": {"type": "string", "maxLength": MAX_TEXT},
        }
    ]
}


async def _metadata(request: Request) -> list[tuple[str, str]]:
    """Return the pairs of metadata that the query asks for.

    Raises:
        RequestValidationError: too many of them, or one that no metadata can have.
    """
    given = [each for each in request.query_params.multi_items() if each[0].startswith(METADATA)]
    for name, text in given:
        if not len(METADATA) < len(name) <= len(METADATA) + MAX_NAME:
            raise _wrong(name, f"a name of metadata has 1 to {MAX_NAME} characters")
        if len(text) > MAX_TEXT:
            raise _wrong(name, f"a text of metadata has at most {MAX_TEXT} characters")
    if len(given) > MAX_NOTES:
        raise _wrong(f"{METADATA}*", f"at most {MAX_NOTES} pairs can be asked for")
    return [(name.removeprefix(METADATA), text) for name, text in given]


def _wrong(name: str, text: str) -> RequestValidationError:
    error = {"type": "value_error", "loc": ("query", name[:80]), "msg": text}
    return RequestValidationError([error])


MetadataDep = Annotated[list[tuple[str, str]], Depends(_metadata)]
