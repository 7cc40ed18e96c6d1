"""What the sums over a map are computed in, whatever autocast says."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

DEVICES = ("cpu", "cuda", "mps", "xpu", "hpu", "mtia", "xla")
# Asked once: some releases of torch.compile can't trace the question. Of other devices it is asked each time.
AUTOCAST = {kind for kind in DEVICES if torch.amp.is_autocast_available(kind)}

# Looked up, since each gate asks a dozen times.
WIDE = {dtype: torch.float32 for dtype in (torch.float32, torch.float16, torch.bfloat16)} | {
    torch.float64: torch.float64
}


def score_dtype(dtype: torch.dtype) -> torch.dtype:
    """The dtype that scores of a map of `dtype` are computed in: float32, or float64 for float64."""
    return WIDE.get(dtype) or torch.promote_types(dtype, torch.float32)


def cast(x: Tensor, dtype: torch.dtype) -> Tensor:
    """`x` in `dtype`, and itself without an operator where it has that."""
    return x if x.dtype == dtype else x.to(dtype)


def mean(x: Tensor, dims: tuple[int, ...], keepdim: bool = False) -> Tensor:
    """The mean over `dims`, in float32 or better."""
    dtype = score_dtype(x.dtype)
    # Not every exporter knows the argument `dtype`, so it is left out where it would change nothing.
    return x.mean(dims, keepdim) if dtype == x.dtype else x.mean(dims, keepdim, dtype=dtype)


def no_autocast(x: Tensor) -> AbstractContextManager[None]:
    kind = x.device.type
    # Asked first, so that an exported graph has no trace of autocast where none is in force.
    is_known = kind in AUTOCAST or torch.amp.is_autocast_available(kind)
    is_on = is_known and torch.is_autocast_enabled(kind)
    return torch.autocast(kind, enabled=False) if is_on else nullcontext()
