"""Previews of deletions: the losses and the changes of answers."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from tangent_composer.schemas.datasets import SharingDataset
from tangent_composer.schemas.training_overlap import TrainedOn


class ChangedComposition(BaseModel):
    """A composition that would answer without the component."""

    name: str
    named: bool = Field(description="it names the component; else it has all of the space")
    solved_weights_lost: bool = Field(
        description="its weights were fitted with the component: the rest would be averaged"
    )
    components_left: int


class LabelChange(BaseModel):
    """The change of answers to the images of one true label, or to all images."""

    num_images: int
    flipped: int = Field(description="images whose first label would be another one, or none")
    accuracy_before: float
    accuracy_after: float | None = Field(description="null if no component is left to answer")


class AnswersOut(LabelChange, TrainedOn):
    """Answers to the dataset's images with all components of the space, and without this one."""

    dataset_id: str
    split: str | None = Field(None, description="null: all images of the dataset")
    rule: str = Field(description="the space's own")
    labels: dict[str, LabelChange] = Field(description="by true label")


class AlsoHeld(BaseModel):
    """Other holders of the data that the deletion is to remove, which would stay."""

    datasets: list[SharingDataset] = Field(
        description="its own dataset, with all its images, and the ten others that hold most of "
        "the same images, byte for byte; empty for an imported component"
    )
    components: list[str] = Field(description="of the space, with the same file, statistics aside")
    cannot_be_looked_into: list[str] = Field(
        description="imported components of the space: their files do not say what images they "
        "were trained from; the first ten"
    )


class PreviewOut(BaseModel):
    """The changes that `DELETE` of the component would make; nothing has been changed."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "component_id": "cmp_0190",
                "space": "default",
                "derived": ["cmp_0192"],
                "labels_gone": ["yak"],
                "compositions": [
                    {
                        "name": "all-sites",
                        "named": True,
                        "solved_weights_lost": False,
                        "components_left": 4,
                    }
                ],
                "evaluations": 2,
                "batch_predictions": 1,
                "also_held": {
                    "datasets": [{"dataset_id": "ds_0190", "images": 359}],
                    "components": [],
                    "cannot_be_looked_into": ["cmp_0177"],
                },
                "answers": {
                    "dataset_id": "ds_0190",
                    "split": "test",
                    "trained_on": 0,
                    "trained_on_unknown": None,
                    "note": None,
                    "rule": "joint",
                    "num_images": 40,
                    "flipped": 3,
                    "accuracy_before": 0.95,
                    "accuracy_after": 0.9,
                    "labels": {
                        "seven": {
                            "num_images": 40,
                            "flipped": 3,
                            "accuracy_before": 0.95,
                            "accuracy_after": 0.9,
                        }
                    },
                },
            }
        }
    )

    component_id: str
    space: str
    derived: list[str] = Field(
        description="components derived from it, or from these, which would go with it"
    )
    labels_gone: list[str] = Field(description="that nothing else in the space knows")
    compositions: list[ChangedComposition] = Field(description="by name")
    evaluations: int = Field(description="how many would be invalidated")
    batch_predictions: int = Field(description="how many would be invalidated")
    also_held: AlsoHeld
    answers: AnswersOut | None = Field(description="null without a dataset_id")


class ComponentEffect(BaseModel):
    """The effect of a deletion on one component that is made from the dataset."""

    id: str
    outcome: Literal["removed", "down_dated", "updated", "retraining", "queued", "unaffected"] = (
        Field(
            description="removed with it; down_dated: has its new file at once; updated: so, and "
            "is trained on images with its bytes that it has held back; retraining: takes no part "
            "in answers until it is trained again; queued: has not begun; unaffected: was trained "
            "without it"
        )
    )


class LostLabels(BaseModel):
    """Labels that a space would no longer know."""

    space: str
    labels: list[str]


class DatasetPreviewOut(BaseModel):
    """The changes that `DELETE` of a dataset, or of one image, would make; nothing was changed."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "dataset_id": "ds_0190",
                "image_id": "img_0190_000001",
                "num_images": 1,
                "components": [
                    {"id": "cmp_0190", "outcome": "down_dated"},
                    {"id": "cmp_0192", "outcome": "removed"},
                ],
                "labels_gone": [{"space": "default", "labels": ["yak"]}],
                "compositions": [
                    {
                        "name": "all-sites",
                        "named": True,
                        "solved_weights_lost": False,
                        "components_left": 4,
                    }
                ],
                "evaluations": 2,
                "batch_predictions": 1,
                "also_held": [{"dataset_id": "ds_0191", "images": 1}],
            }
        }
    )

    dataset_id: str
    image_id: str | None = Field(description="the image; null: the whole dataset")
    num_images: int = Field(description="how many images would go")
    components: list[ComponentEffect] = Field(
        description="trained from the dataset, or derived from those; by id"
    )
    labels_gone: list[LostLabels] = Field(description="by space; nothing else there knows them")
    compositions: list[ChangedComposition] = Field(
        description="that would lose members or fitted weights, by name"
    )
    evaluations: int = Field(description="how many would be invalidated")
    batch_predictions: int = Field(description="how many would be invalidated")
    also_held: list[SharingDataset] = Field(
        description="what keeps the same images, byte for byte; the first ten"
    )
