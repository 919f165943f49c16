"""A prediction's request in the OpenAPI document: multipart form, raw image, JSON with base64."""

from typing import Any

from pydantic import BaseModel

from app.api.http.prediction_forms import RAW
from tangent_composer.schemas.predictions import (
    ABSTAIN_ABOVE,
    ABSTAIN_BELOW,
    CALIBRATION_DATASET,
    DETERMINISTIC,
    JOINT,
    MAX_NAME,
    RETURN,
)
from tangent_composer.vocabulary import RULES


def selection_fields() -> dict[str, Any]:
    """Return the fields of a form that name a selection and labels, for the OpenAPI document."""
    text = {"type": "string"}
    return {
        "composition": text
        | {"maxLength": MAX_NAME, "description": "name of the composition that answers"},
        "components": text | {"description": "ids with commas, or a JSON list of {id, weight?}"},
        "space": text
        | {"maxLength": MAX_NAME, "description": "name of the space whose components answer"},
        "rule": text | {"enum": list(RULES), "description": JOINT},
        "top_k": {
            "type": "integer",
            "default": 5,
            "minimum": 1,
            "maximum": 1000,
            "description": "number of labels for each image, best first",
        },
        "labels": text | {"description": "labels with commas, or a JSON list"},
        "abstain_above": {
            "type": "number",
            "minimum": 0,
            "maximum": 1,
            "description": ABSTAIN_ABOVE,
        },
        "abstain_below": {"type": "number", "minimum": 0, "description": ABSTAIN_BELOW},
    }


def _without_default(field: dict[str, Any]) -> dict[str, Any]:
    """Return a field as a parameter of the query, beside a form that has the same field.

    Clients send defaults, and nobody can know which of two values is meant.
    """
    return {name: value for name, value in field.items() if name != "default"}


def in_three_forms(model: type[BaseModel]) -> dict[str, Any]:
    """Return the three forms for the OpenAPI document; `model` is the one of the JSON form."""
    text, file = {"type": "string"}, {"type": "string", "format": "binary"}
    fields = selection_fields() | {
        "return": text | {"default": "logits,probabilities,novelty", "description": RETURN},
        "deterministic": {"type": "boolean", "default": False, "description": DETERMINISTIC},
        "calibration_dataset": text | {"maxLength": 64, "description": CALIBRATION_DATASET},
    }
    images = {
        "images": {
            "type": "array",
            "items": file,
            "description": "the image files; each is answered by itself",
        }
    }
    form = {"type": "object", "required": ["images"], "properties": images | fields}
    schema = {"$ref": f"#/components/schemas/{model.__name__}"}
    content = {"multipart/form-data": {"schema": form}, "application/json": {"schema": schema}}
    return {
        "parameters": [
            {"name": name, "in": "query", "required": False, "schema": _without_default(schema)}
            for name, schema in fields.items()
        ],
        "requestBody": {
            "required": True,
            "content": content | {media_type: {"schema": file} for media_type in RAW},
        },
    }
