"""Fields of a form, from values of JSON."""

import json
from collections.abc import Mapping
from typing import Any


def form_of(given: Mapping[str, Any]) -> dict[str, str]:
    """Return the fields of a form: all but text as JSON, those that are None left out."""
    return {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in given.items()
        if value is not None
    }
