"""Who looks on while a gate runs: a recorder of operators, or a transform of torch.func."""

import torch


def is_traced() -> bool:
    """Whether torch.jit.trace does. What it records can be saved only if it is torch's own operators."""
    return torch.jit.is_tracing()  # type: ignore[attr-defined]  # Public, and missing from torch.jit's `__all__`.


def is_captured() -> bool:
    """Whether torch.jit.trace, torch.compile or torch.export does."""
    return torch.compiler.is_compiling() or is_traced()


def is_transformed() -> bool:
    """Whether torch.func is at work, or a mode that sees every operator: nothing may be written into then."""
    return torch._C._are_functorch_transforms_active() or torch._C._len_torch_dispatch_stack() > 0
