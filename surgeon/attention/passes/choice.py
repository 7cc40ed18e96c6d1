"""What makes the passes, by the word for it and by where the map is."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from typing import Any, Literal

import torch
from torch import Tensor

from surgeon.attention.passes import compiled, eager
from surgeon.attention.passes.kernels import Kernels

Passes = Literal["eager", "compiled"]
DEFAULT: Passes = "eager"
KERNELS: dict[Passes, Kernels] = {"eager": eager, "compiled": compiled}
# Maps of fewer bytes are done before a GPU has been told what to do, whoever tells it.
LEAST = 2**20
# Where Triton runs: GPUs of NVIDIA and AMD, as torch calls them both.
DEVICE = "cuda"
FUSED = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def chosen(passes: Passes, x: Tensor) -> Kernels:
    """What makes the passes over `x`. On a GPU Triton's kernels do, compiled or not; loops are for CPUs alone."""
    is_fit = x.device.type == DEVICE and x.dtype in FUSED and x.nbytes >= LEAST
    kernels: Kernels | None = _fused(x.device) if is_fit else None
    return kernels or KERNELS[passes if x.device.type == "cpu" else "eager"]


def kernels_of_small(x: Tensor) -> Any:
    """What computes with `x`, which is no map, better than torch's operators do; None where they are best."""
    return _fused(x.device) if x.device.type == DEVICE and x.dtype in FUSED else None


@cache
def _fused(device: torch.device) -> Any:
    """Triton's kernels; None where it is missing, or lacks the C compiler that it needs, or does not know the GPU."""
    if find_spec("triton") is None:
        return None
    # Imported here: it takes a while, and most who need no GPU need no Triton.
    from surgeon.attention.passes import fused

    try:
        fused.pools(torch.zeros(1, 1, 1, device=device), True)
    except Exception:
        return None
    return fused
