"""Fields that a client may set on what it creates: a name, a seed, notes."""

from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints

from app.schemas.texts import Text, at_most
from tangent.components.labels import composed

VISIBLE = r"\S"  # as a pattern: not of white space alone


def _not_blank(name: str) -> str:
    # The constraints count before they strip, as they follow another validator.
    if not name:
        raise ValueError("the name is blank")
    return name


ComposedText = Annotated[Text, AfterValidator(composed)]
Name = Annotated[
    ComposedText,
    StringConstraints(min_length=1, max_length=200, strip_whitespace=True),
    AfterValidator(_not_blank),
    Field(json_schema_extra={"pattern": VISIBLE}),
]
DatasetName = Annotated[
    ComposedText,
    StringConstraints(min_length=1, max_length=255, strip_whitespace=True),
    AfterValidator(_not_blank),
]
MAX_NOTES = 16
MAX_SEED = 2**63 - 1
Seed = Annotated[int, Field(ge=0, le=MAX_SEED)]
Metadata = Annotated[
    dict[
        Annotated[str, StringConstraints(min_length=1, max_length=64)],
        Annotated[str, StringConstraints(max_length=512)],
    ],
    Field(max_length=MAX_NOTES, description="your own notes: up to 16 pairs of texts"),
    at_most(MAX_NOTES),
]
