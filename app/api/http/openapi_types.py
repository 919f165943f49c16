"""Types of members that the service passes on as they are: settings, measurements, events, bodies.

Pydantic takes them for plain dictionaries, as what a training or a deletion writes is not parsed
again. The document says what is in them.
"""

from dataclasses import asdict
from typing import Any

from pydantic import TypeAdapter

from app.receipts.body import BodyV1, BodyV3
from tangent.components.hyperparameters import CHOICES, RANGES, Hyperparameters

OF_SETTINGS = {
    "loss": "rsl: the rescaled square loss; cross_entropy",
    "alpha": "weight of the true label in the loss rsl",
    "beta": "target of the true label's logit in the loss rsl",
    "l2": "penalty on the component's size: mu of mu/2 |delta|²",
    "penalty": "squared: mu/2 |delta|²; norm: mu |delta|, as in the papers",
    "solver": "cholesky: exact, at scopes head and head2toe; cg: exact up to tolerance; lbfgs: any "
    "loss; adam: in epochs over batches",
    "tolerance": "solvers cg and lbfgs end when this is reached; by default 0.05 of an error, "
    "0.001 of the gradient",
    "max_iterations": "maximum number of steps of the solvers cg and lbfgs",
    "epochs": "passes of solver adam over the images",
    "lr": "first learning rate of solver adam",
    "batch_size": "images in a batch of solver adam",
    "views": "views of each image: itself, fixed flips and shifts, each of weight 1/views",
    "choose_l2": "take the l2 that predicts left-out images best",
    "tolerance_of": "quantity that solver cg brings below tolerance. logits, its default: a bound "
    "of the component's relative error, in the logits of the training images and the penalty; "
    "delta: a bound of the relative error of its numbers; gradient: the gradient's size relative "
    "to its first, which bounds no error. Components without it, and all other solvers: gradient",
}
NUMBER = {"anyOf": [{"type": "number"}, {"type": "null"}]}
METRICS: dict[str, dict[str, Any]] = {
    "train_accuracy": NUMBER | {"description": "share of the training images answered rightly"},
    "holdout_accuracy": NUMBER
    | {"description": "share of left-out images answered rightly; null: too few to leave some out"},
    "l2": NUMBER | {"description": "penalty that it was trained with"},
    "l2_chosen_by": {
        "type": "string",
        "description": "way in which l2 was chosen from the data; absent where it was given",
    },
    "tried_l2": {
        "type": "array",
        "items": {
            "type": "object",
            "required": ["l2", "left_out_error"],
            "properties": {
                "l2": {"type": "number", "description": "a penalty"},
                "left_out_error": {
                    "type": "number",
                    "description": "squared error of images left out under it, by generalised "
                    "cross-validation, as a part of that without the component",
                },
            },
        },
        "description": "penalties that were looked at to choose l2, ascending; absent where it was "
        "given",
    },
    "final_loss": NUMBER | {"description": "the loss at the end, with the penalty"},
    "iterations": {"type": "integer", "description": "steps of the solver"},
    "gradient_reduction": NUMBER
    | {"description": "norm of the gradient at the end, relative to its first"},
    "converged": {"type": "boolean", "description": "whether the solver came to its tolerance"},
    "stopped": {
        "type": "string",
        "enum": ["converged", "stagnated", "max_iterations"],
        "description": "why solver cg ended, where tolerance_of is an error; stagnated: the "
        "numbers of this precision do not tell the solution closer",
    },
    "error_bound": NUMBER
    | {
        "description": "bound of the relative error that solver cg ended with, in the norm of "
        "tolerance_of; null: not below 1"
    },
    "departure_at_0.1": NUMBER | {"description": "as departure_at_1, of a tenth of the component"},
    "departure_at_0.3": NUMBER | {"description": "as departure_at_1, of 0.3 times the component"},
    "departure_at_1": NUMBER
    | {
        "description": "distance of the network, moved by the component, from its tangent, "
        "relative to the tangent's own change"
    },
    "environment": {"type": "string", "description": "processor and versions of the training"},
    "not_repeatable": {
        "type": "string",
        "description": "reason why training again with the same data, settings and seed may give "
        "other bytes on this device; absent where it gives the same",
    },
    "seconds": {"type": "number", "description": "duration of the training in seconds"},
    "passes": {"type": "integer", "description": "passes over the images, of a refinement"},
    "images": {"type": "integer", "description": "number of images, of a refinement"},
}
EVENT: dict[str, dict[str, Any]] = {
    "status": {"type": "string", "description": "new status, of an event of the type status"},
    "attempt": {"type": "integer", "description": "number of the attempt, from 1"},
    "worker": {"type": "string", "description": "id of the worker that trains"},
    "metrics": {"$ref": "#/components/schemas/Metrics", "description": "of a finished training"},
    "error": {"$ref": "#/components/schemas/Failure", "description": "cause of a failure"},
    "phase": {"type": "string", "description": "features or solve, of an event of type progress"},
    "step": {"type": "integer", "description": "steps done: images, or steps of the solver"},
    "total": {
        "anyOf": [{"type": "integer"}, {"type": "null"}],
        "description": "steps in all; of solvers cg and lbfgs the most, as they end when accurate",
    },
    "loss": NUMBER | {"description": "loss after this step; null before the solver's first"},
    "eta_seconds": NUMBER
    | {"description": "estimated seconds until the end of the phase; null if not known"},
}
OPEN = {"type": "object", "additionalProperties": True}
PLACES = {  # schema and member → the type of the member
    ("ComponentIn", "hyperparameters"): "HyperparametersIn",
    ("ComponentOut", "hyperparameters"): "Hyperparameters",
    ("ImportedComponent", "hyperparameters"): "Hyperparameters",
    ("ComponentOut", "metrics"): "Metrics",
    ("ImportedComponent", "metrics"): "Metrics",
    ("EventOut", "data"): "EventData",
    ("ReceiptOut", "body"): "ReceiptBody",
}


def add_types(schemas: dict[str, Any]) -> None:
    """Add the types to the schemas, and refer to them where their values are."""
    schemas["Hyperparameters"] = OPEN | {
        "description": "The settings of a training, all of them.",
        "properties": _settings(auto=False),
    }
    schemas["HyperparametersIn"] = {
        "type": "object",
        "description": "The settings of a training; the scope has defaults for those left out.",
        "properties": _settings(auto=True),
        "additionalProperties": False,
    }
    schemas["Metrics"] = OPEN | {
        "description": "Measurements of a training; which there are depends on its solver.",
        "properties": METRICS,
    }
    schemas["EventData"] = OPEN | {
        "description": "The content of an event; which members there are depends on its type.",
        "properties": EVENT,
    }
    _add_receipt_body(schemas)
    for (schema, member), name in PLACES.items():
        found = schemas[schema]["properties"][member]
        kept = {each: found[each] for each in ("description",) if each in found}
        schemas[schema]["properties"][member] = {"$ref": f"#/components/schemas/{name}"} | kept


def _settings(*, auto: bool) -> dict[str, Any]:
    """Return the schemas of all settings; `auto` is offered where the service chooses itself."""
    made: dict[str, Any] = {}
    for name, value in asdict(Hyperparameters()).items():
        kind = {bool: "boolean", int: "integer", float: "number", str: "string"}[type(value)]
        schema: dict[str, Any] = {"type": kind}
        if name in RANGES:
            schema |= dict(zip(("minimum", "maximum"), RANGES[name], strict=True))
        if name in CHOICES:
            schema["enum"] = [*CHOICES[name], *(["auto"] if auto and name == "solver" else [])]
        if auto and name == "l2":
            schema = {"anyOf": [schema, {"type": "string", "const": "auto"}]}
        made[name] = schema | {"description": OF_SETTINGS[name]}
    return made


def _add_receipt_body(schemas: dict[str, Any]) -> None:
    reference = "#/components/schemas/Receipt{model}"
    made = TypeAdapter(BodyV3).json_schema(ref_template=reference)
    for name, schema in made.pop("$defs").items():
        schemas[f"Receipt{name}"] = schema | {"additionalProperties": True}
    required = TypeAdapter(BodyV1).json_schema()["required"]
    version = {"type": "integer", "description": "version of the body, from 1"}
    schemas["ReceiptBody"] = made | {
        "description": "What a deletion or a change removed and changed; versions 1 and 2 of the "
        "body lack some members.",
        "properties": {"version": version} | made["properties"],
        "required": ["version", *required],
        "additionalProperties": True,
    }
