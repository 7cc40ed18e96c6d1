"""Whether somebody records the operators of this call, to run them later without its Python."""

import torch


def is_traced() -> bool:
    """Whether torch.jit.trace does. What it records can be saved only if it is torch's own operators."""
    return torch.jit.is_tracing()  # type: ignore[attr-defined]  # Public, and missing from torch.jit's `__all__`.


def is_captured() -> bool:
    """Whether torch.jit.trace, torch.compile or torch.export does."""
    return torch.compiler.is_compiling() or is_traced()
