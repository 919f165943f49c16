"""Label reports: the images of a dataset whose label a selection disputes without them."""

from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field

from tangent_composer.schemas.answers import UnavailableComponent, UsedComponent, UsedComposition
from tangent_composer.schemas.datasets import thumbnail_of

Score = Annotated[float, Field(description="in shares of a training's target, usually 0 to 1")]


class DisputedImage(BaseModel):
    """An image with its own label, and the label that the selection answers without it."""

    id: str
    path: str = Field(description="in the archive")
    label: str = Field(description="the image's own")
    preferred: str = Field(description="the label that the rest of the selection ranks first")
    residual: float = Field(
        description="1 less the score: 0 where the rest is sure of the image's own label, 1 where "
        "it knows nothing of it, more where it is against it"
    )
    score: Score = Field(description="of the image's own label, by the rest of the selection")
    preferred_score: Score = Field(description="of the preferred label")
    left_out_of: int = Field(
        description="components that were trained on the image and are as if they had not been; 0: "
        "none was"
    )
    thumbnail: str = Field(description="where a small copy of the image is")

    @classmethod
    def of(cls, found: Any) -> Self:
        """Return the view of a judged image."""
        row = found.image
        same = ("preferred", "residual", "score", "preferred_score", "left_out_of")
        return cls(
            id=row.id,
            path=row.path,
            label=row.label,
            thumbnail=thumbnail_of(row),
            **{name: getattr(found, name) for name in same},
        )


class LabelReportOut(BaseModel):
    """The disputed images, most disputed first, and how many there are."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "dataset_id": "ds_0190",
                "space": "default",
                "fingerprint": "5f0c…",
                "rule": "joint",
                "joint": "exact",
                "composition": {"name": "all-sites", "etag": "9b1d…"},
                "components": [{"id": "cmp_0190", "weight": 1.0, "sha256": "77aa…"}],
                "unavailable_components": [],
                "cannot_be_looked_into": [],
                "num_images": 359,
                "num_disputed": 11,
                "num_unknown": 0,
                "accuracy": 0.969,
                "images": [
                    {
                        "id": "img_0190_000001",
                        "path": "site-berlin/ill/scan-17.png",
                        "label": "ill",
                        "preferred": "healthy",
                        "residual": 1.21,
                        "score": -0.21,
                        "preferred_score": 0.97,
                        "left_out_of": 1,
                        "thumbnail": "/v1/datasets/ds_0190/images/img_0190_000001?size=96",
                    }
                ],
            }
        }
    )

    dataset_id: str
    space: str
    fingerprint: str
    rule: str
    joint: str | None
    composition: UsedComposition | None
    components: list[UsedComponent]
    unavailable_components: list[UnavailableComponent] = []
    cannot_be_looked_into: list[str] = Field(
        description="imported components, which may have been trained on the images: these cannot "
        "be left out of them"
    )
    num_images: int = Field(description="that the selection knows the label of")
    num_disputed: int = Field(description="images for which the rest prefers another label")
    num_unknown: int = Field(description="images whose label no component of the selection knows")
    accuracy: float | None = Field(
        description="share of images for which the rest prefers the image's own label: leave-one-"
        "out accuracy where the images were trained on"
    )
    images: list[DisputedImage]
