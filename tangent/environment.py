"""What the last bits of a forward pass depend on, besides the images and the weights."""

import platform
from importlib.metadata import version

import torch


def environment(device: torch.device) -> str:
    """Passes in two processes are the same to the last bit only if this is."""
    if device.type == "cuda":
        where = torch.cuda.get_device_name(device)
    else:
        capability = torch.backends.cpu.get_cpu_capability()
        where = f"{platform.machine()} {capability} {torch.get_num_threads()} threads"
    return f"{where}, torch {torch.__version__}, timm {version('timm')}"
