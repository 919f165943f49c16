"""Strong ETags: `"<version>"` in headers, the bare version everywhere else."""

from app.errors import Malformed

ONE = r"^\s*(\*|\"[^\"]*\")\s*$"  # as a pattern: what `version_of` takes


def quoted(version: str) -> str:
    """Return the version as a header's value."""
    return f'"{version}"'


def version_of(header: str | None, name: str) -> str | None:
    """Return the only version that If-Match or If-None-Match names, "*" for any.

    Raises:
        Malformed: `bad_etag` for a weak ETag, several ETags, or an ETag without quotes.
    """
    if header is None or header.strip() == "*":
        return header and "*"
    text = header.strip()
    if len(text) < 2 or text[0] != '"' or text[-1] != '"' or '"' in text[1:-1]:
        raise Malformed(
            "bad_etag", f'{name} must be one strong ETag such as "9b1d…" with its quotes, or *'
        )
    return text[1:-1]


def names(header: str | None, version: str) -> bool:
    """Return whether If-None-Match, which may list several and weak ETags, names this version."""
    if header is None:
        return False
    found = [part.strip().removeprefix("W/") for part in header.split(",")]
    return "*" in found or quoted(version) in found
