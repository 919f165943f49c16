"""Images as the search for them shows them."""

from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field

from tangent_composer.schemas.datasets import IMAGE, ImageOut

HELD: dict[str, Any] = IMAGE | {"dataset_id": "ds_0190", "components": ["cmp_0190"]}


class HeldImage(ImageOut):
    """An image of a dataset, and the components that have been trained with it."""

    model_config = ConfigDict(json_schema_extra={"example": HELD})

    dataset_id: str
    components: list[str] = Field(
        description="that were trained from the dataset, or wait for it; what was derived from "
        "them, or exported as a file, holds the image too; empty for images of val and test, which "
        "no component is trained on"
    )

    @classmethod
    def of(cls, row: Any, components: list[str] | None = None) -> Self:
        shown = ImageOut.of(row).model_dump()
        return cls(**shown, dataset_id=row.dataset_id, components=components or [])


class NearImage(HeldImage):
    """An image that looks like the one that was sent."""

    model_config = ConfigDict(json_schema_extra={"example": HELD | {"distance": 3}})

    distance: int = Field(description="bits of 144 by which the perceptual hashes differ")


class ImageSearchOut(BaseModel):
    """The images of all datasets that are the one that was sent, or look like it."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "sha256": "77aa…",
                "perceptual_hash": "5c0a…",
                "exact": [HELD],
                "near": [HELD | {"sha256": "0c1d…", "distance": 3}],
                "has_more": False,
                "not_compared": 0,
            }
        }
    )

    sha256: str = Field(description="of the file that was sent")
    perceptual_hash: str | None = Field(
        description="null if the image is too even to have one, so that nothing is near it"
    )
    exact: list[HeldImage] = Field(description="with the same bytes")
    near: list[NearImage] = Field(
        description="with other bytes and at most `distance` different bits, nearest first"
    )
    has_more: bool = Field(description="whether there are more than those shown, of either kind")
    not_compared: int = Field(
        description="images without a perceptual hash: too even to have one, or uploaded before "
        "there were any; only their bytes were compared"
    )
