"""The Open Inference Protocol, version 2: what its clients send and are answered."""

from typing import Annotated, Any

from pydantic import BaseModel, Field

from tangent_composer.schemas.numbers import NUMBER
from tangent_composer.schemas.texts import MAX_LISTED, Given

MAX_WORD = 200  # characters of a name in the protocol
MAX_DIMENSIONS = 8
TEXT = "the values; without them, the tensor's bytes follow the JSON in the order of the inputs"


class InputTensor(Given):
    """One input: `images` (BYTES, image files; in JSON in base64) or `pixels` (UINT8)."""

    name: str = Field(max_length=MAX_WORD)
    datatype: str = Field(max_length=MAX_WORD)
    shape: list[Annotated[int, NUMBER]] = Field(min_length=1, max_length=MAX_DIMENSIONS)
    parameters: dict[str, Any] = Field(default_factory=dict)
    data: list[Any] | None = Field(None, max_length=MAX_LISTED, description=TEXT)


class WantedOutput(Given):
    """An output that the client wants, and whether in binary."""

    name: str = Field(max_length=MAX_WORD)
    parameters: dict[str, Any] = Field(default_factory=dict)


class InferIn(Given):
    """A request for the outputs of a model; those of `parameters` that are unknown are ignored."""

    id: str | None = Field(None, max_length=MAX_WORD)
    parameters: dict[str, Any] = Field(default_factory=dict)
    inputs: list[InputTensor] = Field(min_length=1, max_length=MAX_DIMENSIONS)
    outputs: list[WantedOutput] | None = Field(None, max_length=MAX_DIMENSIONS)


class OutputTensor(BaseModel):
    """One output: `labels` (BYTES), `logits` or `probabilities` (FP32), columns by labels."""

    name: str
    datatype: str
    shape: list[int]
    parameters: dict[str, int] | None = None
    data: list[Any] | None = None


class InferOut(BaseModel):
    """The outputs of a model; the bytes of binary ones follow the JSON."""

    model_name: str
    model_version: str
    id: str | None = None
    outputs: list[OutputTensor]


class TensorMetadata(BaseModel):
    """A tensor's name, type and shape; -1 for a dimension of any size."""

    name: str
    datatype: str
    shape: list[int]


class ModelMetadata(BaseModel):
    """A composition as a model; its version is its ETag, without quotes."""

    name: str
    versions: list[str]
    platform: str = "tangent"
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class ModelReady(BaseModel):
    """A composition that can be asked."""

    name: str
    ready: bool


class ServerMetadata(BaseModel):
    """The service as a server of models."""

    name: str
    version: str
    extensions: list[str]
