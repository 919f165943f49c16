"""The parts of a file that a `Range` header asks for, by RFC 9110, section 14."""

import re

MAX_RANGES = 100  # of one header; one with more is passed over
UNIT = re.compile(r"bytes[ \t]*=", re.IGNORECASE)
SPEC = re.compile(r"([0-9]+)-([0-9]*)|-([0-9]+)")
MAX_DIGITS = 4_000  # that Python turns into a number

Range = tuple[int, int]  # first byte, and the one behind the last


class RangeUnknown(Exception):
    """A header that is no range of bytes: it is passed over, and the whole file is sent."""


def satisfiable(header: str, size: int) -> list[Range]:
    """Return the parts that a file of this size has, merged and in order; none if it has none.

    Raises:
        RangeUnknown: for another unit, another syntax, or too many parts.
    """
    unit = UNIT.match(header.strip(" \t"))
    if unit is None:
        raise RangeUnknown
    specs = [part.strip(" \t") for part in header.strip(" \t")[unit.end() :].split(",")]
    found = [_range(spec, size) for spec in specs if spec]  # a list may have empty elements
    if not found or len(found) > MAX_RANGES:
        raise RangeUnknown
    return _merged(sorted(part for part in found if part[0] < part[1]))


def _range(spec: str, size: int) -> Range:
    match = SPEC.fullmatch(spec)
    if match is None or len(spec) > MAX_DIGITS:
        raise RangeUnknown
    first, last, suffix = match.groups()
    if suffix is not None:
        return max(size - int(suffix), 0), size
    if last and int(last) < int(first):
        raise RangeUnknown
    return int(first), min(int(last) + 1, size) if last else size


def _merged(parts: list[Range]) -> list[Range]:
    """Return parts without overlaps, of parts in order."""
    merged: list[Range] = []
    for first, end in parts:
        if merged and first <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(merged[-1][1], end)
        else:
            merged.append((first, end))
    return merged
