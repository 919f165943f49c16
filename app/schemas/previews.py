"""Previews of deletions: the losses and the changes of answers."""

from pydantic import BaseModel, ConfigDict, Field

from app.schemas.datasets import SharingDataset


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


class AnswersOut(LabelChange):
    """Answers to the dataset's images with all components of the space, and without this one."""

    dataset_id: str
    rule: str = Field(description="the space's own")
    labels: dict[str, LabelChange] = Field(description="by true label")


class AlsoHeld(BaseModel):
    """Other holders of the data that the deletion is to remove, which would stay."""

    datasets: list[SharingDataset] = Field(
        description="its own dataset, with all its images, and the ten others that hold most of "
        "the same images, byte for byte; empty for an imported component"
    )
    components: list[str] = Field(description="of the space, with the same file")
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
