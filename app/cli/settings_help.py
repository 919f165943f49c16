"""The settings with their defaults, as the help of commands that serve lists them."""

import textwrap

from app.settings import Settings

WIDTH = 96


def listed() -> str:
    """Return a paragraph for each setting: its variable, its default, what it is."""
    lines = ["settings, with their defaults (a flag overrides its variable):"]
    for name, field in Settings.model_fields.items():
        default = "" if field.default is None else f" = {field.default}"
        lines.append(f"  TANGENT_{name.upper()}{default}")
        meaning = textwrap.wrap(field.description or "", WIDTH)
        lines += [f"      {line}" for line in meaning]
    return "\n".join(lines)
