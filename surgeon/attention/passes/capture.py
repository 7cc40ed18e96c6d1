"""Who looks on while a gate runs: a recorder of operators, or a transform of torch.func."""

import torch
from torch import Tensor, nn

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


def is_ours(x: Tensor) -> bool:
    """Whether nobody looks on who would have to know the passes over the map `x`."""
    if type(x) not in (Tensor, nn.Parameter) or is_captured() or is_transformed():
        return False
    # Asked last: a trace would record the question.
    return x.numel() > 0


def is_differentiated(g: Tensor) -> bool:
    """Whether gradients are taken of the backward pass that the gradient `g` belongs to, or it is many at once."""
    return torch.is_grad_enabled() or is_transformed() or outside.is_legacy_batchedtensor(g)
