"""The images of a result that its components were trained on, and what to think of its accuracy."""

from typing import Any

from pydantic import BaseModel, Field

NOT_COUNTED = "an earlier version made it, which did not count them"


class TrainedOn(BaseModel):
    """The part of a result that says how far its images are training images."""

    trained_on: int | None = Field(
        None,
        description="images, by equal bytes, that a component was trained on; null until there is "
        "a result, and where trained_on_unknown says why nobody can tell",
    )
    trained_on_unknown: str | None = None
    note: str | None = Field(
        None,
        description="what to think of the accuracy: that it is measured on training images, or "
        "that it may be; null where no image was trained on",
    )


def overlap_fields(result: dict[str, Any] | None, images: int | None) -> dict[str, Any]:
    """Return the fields of `TrainedOn` for a stored result on so many images; none without one."""
    if not result or not images:
        return {}
    count = result.get("trained_on")
    unknown = result.get("trained_on_unknown") or (NOT_COUNTED if count is None else None)
    note = None
    if unknown:
        note = f"some of these may be training images: {unknown}"
    elif count:
        note = (
            f"measured on training images: {count} of these {images} images are ones that a "
            "component was trained on, so the accuracy on new images is another one"
        )
    return {"trained_on": count, "trained_on_unknown": unknown, "note": note}
