"""Bounds in the OpenAPI document as the service holds them; FastAPI alone states them loosely.

It rounds the bounds of bodies to floats, lets parameters and fields of forms be null, which neither
can be, and knows nothing of bounds that come from the settings.
"""

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from app.settings import Settings
from tangent_composer.schemas.names import MAX_SEED
from tangent_composer.schemas.texts import Closed
from tangent_composer.vocabulary import MAX_PRIVATE_LABELS

REFERENCES = "#/components/schemas/{model}"
NULL = {"type": "null"}


def tighten(made: dict[str, Any], settings: Settings) -> None:
    """Give parameters, forms and bodies the bounds that a request is held to."""
    schemas = made["components"]["schemas"]
    for model in _models(Closed):
        if model.__name__ in schemas:
            add(made, model)
    for operation in _operations(made):
        for parameter in operation.get("parameters", ()):
            _without_null(parameter["schema"])
    for name, schema in schemas.items():
        if name.startswith("Body_"):  # of a form
            for field in schema["properties"].values():
                _without_null(field)
                if field.get("maximum") == float(MAX_SEED):
                    field["maximum"] = MAX_SEED  # which no float is
    _bound(schemas, settings)


def add(made: dict[str, Any], model: type[BaseModel], name: str | None = None) -> None:
    """Add a model's schema, and the schemas it refers to, to the document."""
    schemas = made.setdefault("components", {}).setdefault("schemas", {})
    schema = model.model_json_schema(ref_template=REFERENCES)
    for other, found in schema.pop("$defs", {}).items():
        schemas.setdefault(other, found)
    schemas[name or model.__name__] = schema


def _models(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    for each in model.__subclasses__():
        yield each
        yield from _models(each)


def _operations(made: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for operations in made["paths"].values():
        yield from operations.values()


def _without_null(schema: dict[str, Any]) -> None:
    """Take null from the alternatives; a single one that is left becomes the schema itself."""
    if NULL not in schema.get("anyOf", ()):
        return
    left = [each for each in schema["anyOf"] if each != NULL]
    if len(left) == 1:
        del schema["anyOf"]
        schema.update(left[0] | schema)
    else:
        schema["anyOf"] = left


def _bound(schemas: dict[str, Any], settings: Settings) -> None:
    """Give lists the lengths that the settings allow."""
    images = schemas["PredictionIn"]["properties"]["images"]
    images["maxItems"] = settings.max_prediction_images
    schemas["SpaceIn"]["properties"]["labels"]["maxItems"] = settings.max_labels
    optional = {
        ("PrivacyIn", "labels"): min(settings.max_labels, MAX_PRIVATE_LABELS),
        ("CompositionIn", "components"): settings.max_components,
    }
    for (model, field), most in optional.items():
        for each in schemas[model]["properties"][field]["anyOf"]:
            if each["type"] == "array":
                each["maxItems"] = most
