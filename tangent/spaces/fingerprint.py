"""The fingerprint of a space: what its components' numbers mean."""

import hashlib
import json

from tangent.backbones.features import Grid


def fingerprint_of(backbone: str, scope: str, declared: tuple[str, ...], grid: Grid | None) -> str:
    """Return the SHA-256 of all that a delta depends on besides data and hyperparameters."""
    steps = None if grid is None else sorted(set(grid.steps.tolist()))
    about = {"format": 2, "backbone": backbone, "scope": scope, "declared": declared}
    about |= {"steps": steps}
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()
