"""Messages between a service and its engine process: MessagePack, and arrays beside it.

A message is a list of frames. The first is MessagePack, in which a map from a mark, an extension,
stands for what that lacks: arrays, paths, tuples and the plain values of app.inference.models.
Arrays follow as frames, and so do models: most calls are about one of a few, whose text is written
and read once. Nothing in a message can name anything else, so that reading one runs no code of the
sender's.
"""

from collections.abc import Callable, Sequence
from dataclasses import fields, is_dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import msgpack
import numpy as np

from app import errors as problems
from app.files.component_files import DamagedFile
from app.inference import models
from tangent import errors
from tangent.backbones.geometry import Geometry
from tangent.components.source import Source

KINDS: tuple[type[Any], ...] = (
    *(models.SpaceKey, models.OpenedSpace, models.Passed, models.Calibrated, models.Logits),
    *(models.Attributed, models.Effects, models.WeightProblem, models.Weights),
    *(models.Examined, models.MergePlan, models.Share, models.Written),
    *(Geometry, Source),
)
TUPLE, PATH, ARRAY, MODEL, LARGE_MODEL = (msgpack.ExtType(code, b"") for code in range(5))
MARKS = {kind: msgpack.ExtType(code, b"") for code, kind in enumerate(KINDS, 5)}
PLAIN: tuple[type[Any], ...] = (str, int, float, list, dict)  # as these go kinds of them
Frames = list[Any]  # bytes, or objects with the buffer protocol
MODELS = 512  # of which each side keeps the texts
MAX_PARTS = 100  # of such a model; of larger ones, 512 would take too much memory
FIRST_BYTES = 1024  # of a text, which grows as it needs


class EngineFault(RuntimeError):
    """An error of the engine that is nobody's input: a fault of the service."""


def packed(value: Any) -> Frames:
    """Return the frames of a message.

    Raises:
        TypeError: a message cannot hold the value.
        OverflowError: an integer has more than 64 bits.
    """
    frames: Frames = [b""]
    frames[0] = _text(value, frames)
    return frames


def unpacked(frames: Sequence[Any]) -> Any:
    """Return the value that `packed` made frames of."""
    return _value(frames[0], frames)


def _text(value: Any, frames: Frames) -> bytes:
    """Return the value as MessagePack; add to the frames what goes beside it."""
    text: bytes = msgpack.packb(
        value,
        default=partial(_marked, frames),
        strict_types=True,
        unicode_errors="surrogatepass",
        buf_size=FIRST_BYTES,
    )
    return text


def _value(text: Any, frames: Sequence[Any]) -> Any:
    return msgpack.unpackb(
        text,
        ext_hook=_reader,
        object_pairs_hook=partial(_read, frames),
        strict_map_key=False,
        unicode_errors="surrogatepass",
    )


def _model_text(model: models.Model) -> bytes:
    return _text(tuple(model), [])


def _model_of(text: bytes) -> models.Model:
    return models.Model(*_value(text, ()))


_kept_text, _kept_model = lru_cache(MODELS)(_model_text), lru_cache(MODELS)(_model_of)


def _marked(frames: Frames, value: Any) -> Any:
    """Return a map from the mark of the value's kind to what it is made of."""
    kind = type(value)
    if kind is tuple:
        return {TUPLE: list(value)}
    if kind is models.Model:
        is_small = len(value.parts) <= MAX_PARTS
        frames.append((_kept_text if is_small else _model_text)(value))
        return {MODEL if is_small else LARGE_MODEL: len(frames) - 1}
    if kind in MARKS:
        if is_dataclass(value):
            return {MARKS[kind]: [getattr(value, field.name) for field in fields(value)]}
        return {MARKS[kind]: list(value)}
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        frames.append(np.ascontiguousarray(value))
        return {ARRAY: [len(frames) - 1, value.dtype.str, list(value.shape)]}
    if isinstance(value, Path):
        return {PATH: str(value)}
    for plain in PLAIN:
        if isinstance(value, plain):
            return plain(value)
    raise TypeError(f"a message cannot hold {kind.__name__}")


def _read(frames: Sequence[Any], pairs: list[tuple[Any, Any]]) -> Any:
    """Return the value of a map, which is a dict if no mark is in it."""
    if len(pairs) == 1 and isinstance(pairs[0][0], _Reader):
        [(reader, given)] = pairs
        return reader.read(frames, given)
    return dict(pairs)


class _Reader(NamedTuple):
    """The reader of a mark's values."""

    read: Callable[[Sequence[Any], Any], Any]


def _read_array(frames: Sequence[Any], about: list[Any]) -> np.ndarray:
    at, dtype, shape = about
    return np.frombuffer(frames[at], np.dtype(dtype)).reshape(shape)


def _made(kind: type[Any], _: Sequence[Any], parts: list[Any]) -> Any:
    return kind(*parts)


READERS = {
    TUPLE.code: _Reader(lambda _, parts: tuple(parts)),
    PATH.code: _Reader(lambda _, text: Path(text)),
    ARRAY.code: _Reader(_read_array),
    MODEL.code: _Reader(lambda frames, at: _kept_model(bytes(frames[at]))),
    LARGE_MODEL.code: _Reader(lambda frames, at: _model_of(bytes(frames[at]))),
} | {mark.code: _Reader(partial(_made, kind)) for kind, mark in MARKS.items()}


def _reader(code: int, _: bytes) -> _Reader:
    return READERS[code]


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
