"""Devices by the names that settings give them."""

import torch

from tangent.errors import UnknownDevice


def device_of(name: str) -> torch.device:
    """Return the torch device of this name; `auto` is the GPU where there is one.

    Raises:
        UnknownDevice: torch knows no such device, or this machine has none.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()  # a device that is not there, or holds no numbers
    except Exception as error:  # each of torch's back ends has errors of its own
        raise UnknownDevice(
            f"torch cannot compute on a device {name!r} here: use auto, cpu, or cuda on a machine "
            "with a GPU"
        ) from error
    return device
