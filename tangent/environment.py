"""What the last bits of passes and solutions depend on, besides images, weights and settings."""

import platform
from importlib.metadata import version

import torch


def environment(device: torch.device) -> str:
    """Two processes find the same bits only if this is the same in both."""
    capability = torch.backends.cpu.get_cpu_capability()  # which also solves what a GPU has summed
    where = f"{platform.machine()} {capability} {torch.get_num_threads()} threads"
    if device.type == "cuda":
        where = f"{torch.cuda.get_device_name(device)}, {where}"
    return f"{where}, torch {torch.__version__}, timm {version('timm')}"
