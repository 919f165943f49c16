"""The fields of an upload's form beside its file: metadata, and the settings of the training."""

from typing import Annotated, Any, NamedTuple

from fastapi import Depends, Form
from pydantic import AfterValidator, TypeAdapter

from app.api.http.json_fields import json_field, object_of
from app.errors import Invalid
from tangent_composer.schemas.components import HYPERPARAMETERS, Hyperparameters, TrainingIn
from tangent_composer.schemas.names import Metadata, Name, Seed
from tangent_composer.schemas.privacy import PrivacyBudgetIn

METADATA: TypeAdapter[dict[str, str]] = TypeAdapter(Metadata)
BUDGET: TypeAdapter[Any] = TypeAdapter(
    Annotated[PrivacyBudgetIn, AfterValidator(PrivacyBudgetIn.model_dump)]
)
SETTINGS: TypeAdapter[dict[str, Any]] = TypeAdapter(Hyperparameters)


class UploadFields(NamedTuple):
    """The metadata of the dataset, and the training that is wanted of it."""

    metadata: dict[str, str]
    training: TrainingIn | None
    privacy_budget: dict[str, Any] | None


def _upload_fields(
    metadata: Annotated[
        str | None, json_field("of the dataset, as a JSON object: up to 16 pairs of texts")
    ] = None,
    privacy_budget: Annotated[
        str | None,
        json_field(
            "of the dataset, as PUT /v1/datasets/{id}/privacy takes it: a JSON object with epsilon "
            "and delta; nothing of the dataset is then told without noise"
        ),
    ] = None,
    train: Annotated[bool, Form(description="train a component from it at once")] = False,
    hyperparameters: Annotated[
        str | None, json_field(f"of the training, as a JSON object: {HYPERPARAMETERS}")
    ] = None,
    seed: Annotated[Seed | None, Form(description="of the training")] = None,
    component_name: Annotated[Name | None, Form(description="else the dataset's name")] = None,
    component_metadata: Annotated[
        str | None, json_field("of the component, as a JSON object")
    ] = None,
) -> UploadFields:
    """Return the fields; those of a training are refused where none is wanted.

    Raises:
        Invalid: `not_trained`.
        RequestValidationError: a field with JSON that does not fit.
    """
    of_dataset = object_of("metadata", metadata, METADATA) or {}
    budget = object_of("privacy_budget", privacy_budget, BUDGET)
    of_training = {
        "hyperparameters": object_of("hyperparameters", hyperparameters, SETTINGS),
        "seed": seed,
        "name": component_name,
        "metadata": object_of("component_metadata", component_metadata, METADATA),
    }
    given = {name: value for name, value in of_training.items() if value is not None}
    if not train:
        _check_not_given(given)
    return UploadFields(of_dataset, TrainingIn(**given) if train else None, budget)


def _check_not_given(given: dict[str, Any]) -> None:
    if given:
        raise Invalid(
            "not_trained",
            "hyperparameters, seed, component_name and component_metadata are of a training, and "
            "none was asked for: send train=true as well, or POST /v1/components later",
        )


UploadFieldsDep = Annotated[UploadFields, Depends(_upload_fields)]
