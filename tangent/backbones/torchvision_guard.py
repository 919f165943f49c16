"""Lets `import torchvision` succeed where its compiled operators do not fit the installed torch.

torchvision 0.28 registers shape functions for `nms` and `qnms` at import time, which fails when its
extension library was built for another torch. Nothing here calls either operator: timm only needs
torchvision's Python code. Declaring the two names is enough. Where the builds fit, this does
nothing.
"""

import sys

import torch

_declared: list[torch.library.Library] = []  # an operator lives as long as its Library


def import_torchvision() -> None:
    """Import torchvision, declaring the operators whose absence would stop the import."""
    try:
        import torchvision
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
        for name in [n for n in sys.modules if n.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        library = torch.library.Library("torchvision", "FRAGMENT")
        for name in ("nms", "qnms"):
            library.define(name + "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _declared.append(library)
        import torchvision  # noqa: F401
