"""Inference by tensors, as the Open Inference Protocol has it, by the passes of predictions."""

import json
import re
import struct
from codecs import BOM_UTF8
from collections.abc import Mapping, Sequence
from math import prod
from typing import Any, NamedTuple

import numpy as np
from pydantic import ValidationError

from app.errors import Invalid, Malformed
from app.images import base64_files
from app.inference import ranking
from app.operations.prediction_answers import Logits
from tangent_composer.schemas.inference_protocol import InferIn, InferOut, InputTensor, OutputTensor

IMAGES, PIXELS = "images", "pixels"
LABELS, LOGITS, PROBABILITIES = "labels", "logits", "probabilities"
OUTPUTS = {LABELS: "BYTES", LOGITS: "FP32", PROBABILITIES: "FP32"}
SIZE = "binary_data_size"
MAX_VALUES = 2**31  # of one image: more than any body holds
MAX_SHOWN = 60  # characters of a wrong value
LENGTH = struct.Struct("<I")  # before each element of a binary tensor of BYTES
FORMS = (
    "send one input: `images` with datatype BYTES and shape [N], or `pixels` with datatype UINT8 "
    "and shape [N, height, width, 3]"
)


class Asked(NamedTuple):
    """A request that was read."""

    infer: InferIn
    images: list[bytes | np.ndarray]
    outputs: dict[str, bool]  # the wanted ones, and whether in binary
    is_deterministic: bool


def length_of(body: bytes, head: str | None) -> int:
    """Return the length of the JSON: what the header `head` says, or all of the body.

    Raises:
        Malformed: `malformed_request`.
    """
    if head is None:
        return len(body)
    length = int(head) if re.fullmatch("[0-9]{1,12}", head) else -1
    if not 0 <= length <= len(body):
        raise Malformed(
            "malformed_request",
            "Inference-Header-Content-Length is not the length of the JSON in this body",
        )
    return length


def read(body: bytes, length: int, most: int) -> Asked:
    """Read a request whose JSON has this length; it may have at most `most` images.

    Raises:
        Malformed: `malformed_request`.
        Invalid: `invalid_tensor`, `too_many_images`, `unknown_output`.
    """
    try:
        infer = InferIn.model_validate_json(body[:length].removeprefix(BOM_UTF8))
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = "/".join(map(str, first["loc"])) or "the body"
        raise Malformed(
            "malformed_request", f"it is no inference request: {where}: {first['msg']}"
        ) from None
    if len(infer.inputs) != 1:
        raise Invalid("invalid_tensor", f"the request has {len(infer.inputs)} inputs: {FORMS}")
    images = _images(infer.inputs[0], body[length:], most)
    return Asked(infer, images, _wanted(infer), _flag(infer.parameters, "deterministic"))


def _flag(parameters: Mapping[str, Any], name: str, usual: bool = False) -> bool:
    value = parameters.get(name, usual)
    if not isinstance(value, bool):
        shown = json.dumps(value)[:MAX_SHOWN]
        raise Malformed("malformed_request", f"the parameter {name} is {shown}: send true or false")
    return value


def _wanted(infer: InferIn) -> dict[str, bool]:
    """Return the wanted outputs, and whether in binary; all of them if none is named."""
    usual = _flag(infer.parameters, "binary_data_output")
    if not infer.outputs:
        return dict.fromkeys(OUTPUTS, usual)
    if unknown := [each.name for each in infer.outputs if each.name not in OUTPUTS]:
        raise Invalid(
            "unknown_output", f"there is no output {unknown[0]!r}: ask for {', '.join(OUTPUTS)}"
        )
    return {each.name: _flag(each.parameters, "binary_data", usual) for each in infer.outputs}


def _images(tensor: InputTensor, rest: bytes, most: int) -> list[bytes | np.ndarray]:
    size = tensor.parameters.get(SIZE)
    if size is None and tensor.data is None:
        raise Invalid("invalid_tensor", f"{tensor.name} has neither data nor {SIZE}")
    if (size or 0) != len(rest):
        raise Invalid("invalid_tensor", f"{len(rest)} bytes follow the JSON, {SIZE} is {size}")
    first, *others = tensor.shape
    if first < 0 or any(side < 1 for side in others) or prod(others) > MAX_VALUES:
        raise Invalid("invalid_tensor", f"the shape {tensor.shape} of {tensor.name} is none")
    if first == 0:
        raise Invalid("no_images", f"{tensor.name} is empty: send at least one image")
    if first > most or (tensor.name == IMAGES and prod(tensor.shape) > most):
        raise Invalid(
            "too_many_images",
            f"the shape is {tensor.shape}, the most images are {most}: send several requests",
        )
    kind = tensor.name, tensor.datatype
    if kind == (IMAGES, "BYTES"):
        files = _files(rest, most) if tensor.data is None else _from_base64(tensor)
        if len(files) != prod(tensor.shape):
            raise Invalid(
                "invalid_tensor", f"{IMAGES} has {len(files)} elements, its shape {tensor.shape}"
            )
        return list(files)
    if kind == (PIXELS, "UINT8") and len(tensor.shape) == 4 and tensor.shape[3] == 3:
        return list(_pixels(tensor, rest))
    raise Invalid(
        "invalid_tensor",
        f"the input {tensor.name!r} of {tensor.datatype} and shape {tensor.shape} is none: {FORMS}",
    )


def _files(data: bytes, most: int) -> list[bytes]:
    """Return the elements of a binary tensor; of more than `most`, the first `most` and one."""
    files: list[bytes] = []
    at = 0
    while at < len(data) and len(files) <= most:
        if at + LENGTH.size > len(data):
            raise Invalid("invalid_tensor", f"the bytes of {IMAGES} end within a length")
        (length,) = LENGTH.unpack_from(data, at)
        at += LENGTH.size
        if at + length > len(data):
            raise Invalid("invalid_tensor", f"the bytes of {IMAGES} end within an element")
        files.append(data[at : at + length])
        at += length
    return files


def _flat(tensor: InputTensor) -> Sequence[Any]:
    """Return the values of a tensor in JSON, which may be nested as its shape is, or flat."""
    values: Sequence[Any] = tensor.data or []
    for length in tensor.shape[1:]:
        if not any(isinstance(value, list) for value in values):
            return values
        if not all(isinstance(value, list) and len(value) == length for value in values):
            raise Invalid(
                "invalid_tensor",
                f"the data of {tensor.name} are nested otherwise than its shape {tensor.shape}: "
                "nest them as the shape, or send one list of all values",
            )
        values = [each for value in values for each in value]
    return values


def _from_base64(tensor: InputTensor) -> list[bytes]:
    values = _flat(tensor)
    if not all(isinstance(value, str) for value in values):
        raise Invalid(
            "invalid_tensor", f"the data of {IMAGES} are not texts: send each file in base64"
        )
    try:
        return [base64_files.decoded(value) for value in values]
    except Invalid as problem:
        raise Invalid(
            problem.code, f"the data of {IMAGES}: {problem.detail}; in JSON, encode each file so"
        ) from None


def _pixels(tensor: InputTensor, data: bytes) -> np.ndarray:
    count = prod(tensor.shape)
    if tensor.data is None:
        flat = np.frombuffer(data, np.uint8)
    else:
        values = _flat(tensor)
        if not all(type(value) is int and 0 <= value <= 255 for value in values):
            wrong = f"the data of {PIXELS} are not whole numbers from 0 to 255"
            raise Invalid("invalid_tensor", wrong)
        flat = np.array(values, np.uint8)
    if flat.size != count:
        raise Invalid(
            "invalid_tensor", f"{PIXELS} has {flat.size} values, its shape {tensor.shape}"
        )
    return flat.reshape(tensor.shape)


def answer(name: str, version: str, asked: Asked, found: Logits) -> tuple[bytes, int]:
    """Return the body of an answer, and the length of its JSON.

    Raises:
        Problem: that of the first image that has one, with its number.
    """
    for number, problem in enumerate(found.problems):
        if problem is not None:
            raise type(problem)(problem.code, f"image {number}: {problem.detail}")
    tensors, follow = [], []
    for output, is_binary in asked.outputs.items():
        tensor, data = _tensor(output, found, is_binary)
        tensors.append(tensor)
        follow.append(data)
    out = InferOut(model_name=name, model_version=version, id=asked.infer.id, outputs=tensors)
    head = out.model_dump_json(exclude_none=True).encode()
    return head + b"".join(follow), len(head)


def _tensor(output: str, found: Logits, is_binary: bool) -> tuple[OutputTensor, bytes]:
    datatype = OUTPUTS[output]
    if output == LABELS:
        shape, values = [len(found.labels)], [label.encode() for label in found.labels]
        data = b"".join(LENGTH.pack(len(value)) + value for value in values)
        shown: list[Any] = list(found.labels)
    else:
        numbers = found.logits
        if output == PROBABILITIES:
            rows = [ranking.softmax(row, found.temperature) for row in numbers]
            numbers = np.array(rows, np.float32).reshape(numbers.shape)
        shape, data = list(numbers.shape), numbers.astype("<f4").tobytes()
        shown = [] if is_binary else numbers.reshape(-1).tolist()
    if is_binary:
        follows = {SIZE: len(data)}
        return OutputTensor(name=output, datatype=datatype, shape=shape, parameters=follows), data
    return OutputTensor(name=output, datatype=datatype, shape=shape, data=shown), b""
