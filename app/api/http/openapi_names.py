"""Names in the OpenAPI document from which generators make names of classes and functions.

FastAPI's own end in underscores, contain the paths of modules, or come twice.
"""

import re
from collections.abc import Iterator
from typing import Any

REFERENCE = "#/components/schemas/"
NAMES = {
    "Body_components_import_": "ComponentImportForm",
    "Body_datasets_add_images": "AddedImagesForm",
    "Body_datasets_upload": "DatasetUploadForm",
    "Body_images_search": "ImageSearchForm",
    "Check": "ReadinessCheck",
    "Engine": "SpaceEngine",
    "Parameters": "ParameterCounts",
    "ProblemOut": "Problem",
    "tangent_composer__schemas__batch_predictions__RejectedFile": "RejectedImageFile",
    "tangent_composer__schemas__datasets__RejectedFile": "RejectedFile",
    "tangent_composer__schemas__keys__KeyOut": "KeyOut",
    "tangent_composer__schemas__receipts__KeyOut": "LedgerKeyOut",
}
LISTING = re.compile(r"Listing_(\w+)_")
OF_SCHEMAS = ("anyOf", "oneOf", "allOf", "prefixItems")


def rename(made: dict[str, Any]) -> None:
    """Give schemas names of words, with titles that are their names, and no titles to others."""
    schemas = made["components"]["schemas"]
    names = {name: _name_of(name) for name in schemas}
    made["components"]["schemas"] = {names[name]: schemas[name] for name in sorted(schemas)}
    for found in _references(made):
        name = found["$ref"].removeprefix(REFERENCE)
        found["$ref"] = REFERENCE + names.get(name, name)
    for name, schema in made["components"]["schemas"].items():
        for part in parts(schema):
            part.pop("title", None)
        schema["title"] = name
    for operation in operations(made):
        operation["operationId"] = operation["operationId"].rstrip("_")
        for schema in schemas_of(operation):
            for part in parts(schema):
                part.pop("title", None)


def operations(made: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield all operations of the document."""
    for methods in made["paths"].values():
        yield from methods.values()


def schemas_of(operation: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the schemas of an operation's parameters, bodies and answers."""
    yield from (each["schema"] for each in operation.get("parameters", ()))
    contents = [operation.get("requestBody", {}), *operation["responses"].values()]
    for content in contents:
        yield from (
            each["schema"] for each in content.get("content", {}).values() if "schema" in each
        )


def parts(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the schema and all schemas within it."""
    yield schema
    within = [*schema.get("properties", {}).values(), schema.get("items")]
    within += [schema.get("additionalProperties"), *(schema.get("$defs") or {}).values()]
    within += [each for name in OF_SCHEMAS for each in schema.get(name, ())]
    for each in within:
        if isinstance(each, dict):
            yield from parts(each)


def _name_of(name: str) -> str:
    listing = LISTING.fullmatch(name)
    return f"{listing[1]}Page" if listing else NAMES.get(name, name)


def _references(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        if str(value.get("$ref", "")).startswith(REFERENCE):
            yield value
        for each in value.values():
            yield from _references(each)
    elif isinstance(value, list):
        for each in value:
            yield from _references(each)
