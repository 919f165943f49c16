"""The outcome of a component's verification."""

from pydantic import BaseModel, ConfigDict, Field


class ImagesOut(BaseModel):
    """The images that a component was made again from."""

    count: int
    sha256: str = Field(
        description="of the lines `<SHA-256 of the image's file> <label>`, sorted by their bytes"
    )


class ComponentVerificationOut(BaseModel):
    """A component made again from the images that are held, compared with its file."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "component_id": "cmp_0190",
                "ok": False,
                "detail": "is not what its images make: that is 77aa…, this is 13f0…",
                "dataset_id": "ds_0190",
                "images": {"count": 200, "sha256": "c4…"},
                "sha256": "13f0…",
                "file_sha256": "13f0…",
                "made_sha256": "77aa…",
                "differing": ["delta.head"],
                "environment": "x86_64 AVX2 2 threads, torch 2.13.0, timm 1.0.31",
            }
        }
    )

    component_id: str
    ok: bool | None = Field(
        description="whether its file is what its images make, to the byte; null if it was trained "
        "on another kind of machine, so that bytes cannot be compared"
    )
    detail: str = Field(description="the same in words")
    dataset_id: str
    images: ImagesOut
    sha256: str = Field(description="of the file, as the component's row says")
    file_sha256: str = Field(description="of the file, as it is")
    made_sha256: str | None = Field(
        None, description="of the file that was made; null if its training failed"
    )
    differing: list[str] | None = Field(
        None,
        description="the tensors of the file that the images make otherwise, and `__metadata__`; "
        "null if the bytes are the same, and if the file is not readable",
    )
    environment: str | None = Field(
        None, description="hardware and libraries that made it; metrics.environment has the former"
    )
