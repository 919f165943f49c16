"""Messages between a service and its engine process: JSON, and the bytes of arrays beside it.

A message is a list of frames. The first is JSON in which {"$": kind, …} stands for what JSON lacks:
arrays, paths, tuples and the plain values of app.inference.models. Arrays follow as frames, and so
do models: most calls are about one of a few, whose text is written and read once. Nothing in a
message can name anything else, so that reading one runs no code of the sender's.
"""

import json
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from app import errors as problems
from app.files.component_files import DamagedFile
from app.inference import models
from tangent import errors
from tangent.backbones.geometry import Geometry
from tangent.components.source import Source

VALUES: dict[str, Any] = {
    kind.__name__: kind
    for kind in (
        *(models.SpaceKey, models.OpenedSpace, models.Passed, models.Calibrated, models.Logits),
        *(models.Attributed, models.Effects, models.WeightProblem, models.Weights),
        *(models.Examined, models.MergePlan, models.Share, models.Written),
        *(Geometry, Source),
    )
}
Frames = list[Any]  # bytes, or objects with the buffer protocol
MODELS = 512  # of which each side keeps the texts
MAX_PARTS = 100  # of such a model; of larger ones, 512 would take too much memory


class EngineFault(RuntimeError):
    """An error of the engine that is nobody's input: a fault of the service."""


def packed(value: Any) -> Frames:
    """Return the frames of a message."""
    more: Frames = []
    return [_text(_coded(value, more)), *more]


def _text(coded: Any) -> bytes:
    return json.dumps(coded, separators=(",", ":")).encode()


def unpacked(frames: Sequence[Any]) -> Any:
    """Return the value that `packed` made frames of."""
    return _decoded(json.loads(bytes(frames[0])), frames[1:])


def _model_text(model: models.Model) -> bytes:
    return _text(_coded(tuple(model), []))


def _model_of(text: bytes) -> models.Model:
    return models.Model(*_decoded(json.loads(text), ()))


_kept_text, _kept_model = lru_cache(MODELS)(_model_text), lru_cache(MODELS)(_model_of)


def _coded(value: Any, more: Frames) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        more.append(np.ascontiguousarray(value))
        return {"$": "array", "at": len(more), "type": value.dtype.str, "shape": value.shape}
    if isinstance(value, models.Model):
        is_small = len(value.parts) <= MAX_PARTS
        more.append((_kept_text if is_small else _model_text)(value))
        return {"$": "model", "at": len(more), "small": is_small}
    if isinstance(value, Path):
        return {"$": "path", "of": str(value)}
    kind = type(value).__name__
    if VALUES.get(kind) is type(value):
        parts = (
            [getattr(value, field.name) for field in fields(value)]
            if is_dataclass(value)
            else list(value)
        )
        return {"$": kind, "of": [_coded(part, more) for part in parts]}
    if isinstance(value, dict):
        pairs = [[_coded(key, more), _coded(one, more)] for key, one in value.items()]
        return {"$": "dict", "of": pairs}
    if isinstance(value, tuple):
        return {"$": "tuple", "of": [_coded(part, more) for part in value]}
    if isinstance(value, list):
        return [_coded(part, more) for part in value]
    raise TypeError(f"a message cannot hold {type(value).__name__}")


def _decoded(coded: Any, frames: Sequence[Any]) -> Any:
    if isinstance(coded, list):
        return [_decoded(part, frames) for part in coded]
    if not isinstance(coded, dict):
        return coded
    kind = coded["$"]
    if kind == "array":
        flat = np.frombuffer(frames[coded["at"] - 1], np.dtype(coded["type"]))
        return flat.reshape(coded["shape"])
    if kind == "model":
        read = _kept_model if coded["small"] else _model_of
        return read(bytes(frames[coded["at"] - 1]))
    if kind == "path":
        return Path(coded["of"])
    if kind == "dict":
        return {_decoded(key, frames): _decoded(one, frames) for key, one in coded["of"]}
    parts = [_decoded(part, frames) for part in coded["of"]]
    return tuple(parts) if kind == "tuple" else VALUES[kind](*parts)


def told(error: BaseException) -> dict[str, Any]:
    """Return what a message says of an error."""
    kind = type(error).__name__
    if isinstance(error, DamagedFile):
        return {"kind": kind, "key": error.key, "sha256": error.sha256, "fault": error.fault}
    if isinstance(error, problems.Problem):
        kind = next(
            base.__name__ for base in type(error).__mro__ if hasattr(problems, base.__name__)
        )
        return {"kind": kind, "code": error.code, "text": error.detail, "extra": error.extra}
    if isinstance(error, errors.TangentError | MemoryError):
        return {"kind": kind, "text": str(error)}
    return {"kind": "EngineFault", "text": f"{kind}: {error}"}


def error_of(told: dict[str, Any]) -> BaseException:
    """Return the error that `told` was made of."""
    kind, text = told["kind"], told.get("text", "")
    if kind == DamagedFile.__name__:
        return DamagedFile(told["key"], told["sha256"], told["fault"])
    if "code" in told:
        return getattr(problems, kind)(told["code"], text, **told["extra"])
    if kind == MemoryError.__name__:
        return MemoryError(text)
    found = getattr(errors, kind, None)
    return EngineFault(text) if found is None else found(text)
