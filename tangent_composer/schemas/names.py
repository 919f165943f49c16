"""Fields that several requests have: a name, a label, a seed, notes, a split of a dataset."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, GetJsonSchemaHandler, StringConstraints
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from tangent_composer.labels import MAX_LABEL, composed, fault, tidy
from tangent_composer.schemas.numbers import NUMBER
from tangent_composer.schemas.texts import Given, Text, at_most

VISIBLE = r"\S"  # as a pattern: not of white space alone


def _not_blank(name: str) -> str:
    # The constraints count before they strip, as they follow another validator.
    if not name:
        raise ValueError("the name is blank")
    return name


def _label(text: str) -> str:
    label = tidy(text)
    if why := fault(label):
        raise ValueError(f"the label {why}")
    return label


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
Label = Annotated[
    str,
    StringConstraints(min_length=1, max_length=MAX_LABEL, strip_whitespace=True),
    AfterValidator(_label),
    Field(json_schema_extra={"pattern": VISIBLE}),
]
SplitQuery = Literal["train", "val", "test", "none"]  # none: images without a split
MAX_NOTES = 16
MAX_SEED = 2**63 - 1
Seed = Annotated[int, Field(ge=0, le=MAX_SEED)]
JsonSeed = Annotated[Seed, NUMBER]  # of a body; a form has texts
Metadata = Annotated[
    dict[
        Annotated[str, StringConstraints(min_length=1, max_length=64)],
        Annotated[str, StringConstraints(max_length=512)],
    ],
    Field(max_length=MAX_NOTES, description="your own notes: up to 16 pairs of texts"),
    at_most(MAX_NOTES),
]
MetadataPatch = Annotated[
    dict[
        Annotated[str, StringConstraints(min_length=1, max_length=64)],
        Annotated[str, StringConstraints(max_length=512)] | None,
    ],
    Field(max_length=2 * MAX_NOTES),
    at_most(2 * MAX_NOTES),
]


class Change(Given):
    """A JSON merge patch (RFC 7396) of what has metadata; fields that are left out stay."""

    metadata: MetadataPatch | None = Field(
        None,
        description="pairs to set, and with null those to remove; what it leaves out stays. Null "
        "removes all",
    )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Return the schema without defaults, which only stand for what was left out."""
        schema = handler(core)
        for field in handler.resolve_ref_schema(schema)["properties"].values():
            field.pop("default", None)
        return schema
