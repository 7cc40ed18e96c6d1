"""Who looks on while a gate runs: a recorder of operators, or a transform of torch.func."""

import torch

from surgeon.outside import torch as outside


def is_traced() -> bool:
    """Whether torch.jit.trace does. What it records can be saved only if it is torch's own operators."""
    return torch.jit.is_tracing()  # type: ignore[attr-defined]  # Public, and missing from torch.jit's `__all__`.


def is_captured() -> bool:
    """Whether torch.jit.trace, torch.compile or torch.export does."""
    return torch.compiler.is_compiling() or is_traced()


def is_transformed() -> bool:
    """Whether torch.func is at work, or a mode that sees every operator: nothing may be written into then."""
    return outside.is_transformed() or outside.dispatch_modes() > 0
