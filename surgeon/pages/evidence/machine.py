"""What figures were measured on, in words."""

from __future__ import annotations

import platform
from pathlib import Path

import torch


def machine(device: torch.device) -> str:
    """The processor with its threads, or the GPU, and the release of torch."""
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)}, torch {torch.__version__}"
    threads = torch.get_num_threads()
    return f"{processor()}, {threads} thread{'s' * (threads != 1)}, torch {torch.__version__}"


def processor() -> str:
    """What the processor says of itself, as far as it does."""
    told = Path("/proc/cpuinfo")
    lines = told.read_text().splitlines() if told.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if "model name" in line]
    return names[0] if names else platform.processor() or platform.machine()
