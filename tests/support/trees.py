"""Source files that a test makes, counts by hand and reads or runs."""

from pathlib import Path
from textwrap import dedent


def write(root: Path, files: dict[str, str]) -> None:
    """Write files below a folder, their text without its margin."""
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(dedent(text).lstrip("\n"))
