"""What a gate gives and what it passes back, compiled and as it is."""

from collections.abc import Callable

import torch


def same_outcome(compiled: Callable, gate: torch.nn.Module, x: torch.Tensor) -> None:
    """Outputs and gradients agree, and no branch is dead."""
    (y, *grads), (want, *others) = (outcome(call, x, gate) for call in (compiled, gate))
    torch.testing.assert_close(y, want, rtol=1e-4, atol=1e-5)
    # What is 0 but for rounding, such as the gradient of a bias before a normalisation, is small beside the others.
    largest = max(float(grad.abs().max()) for grad in others)
    torch.testing.assert_close(grads, others, rtol=1e-3, atol=1e-5 * largest)
    assert all(grad.any() for grad in others if grad.dim() > 1) and not torch.allclose(y, x)


def outcome(call: Callable, x: torch.Tensor, gate: torch.nn.Module) -> list[torch.Tensor]:
    """The output, and the gradients of its squares; at once, since the next call moves the statistics that they need."""
    x = x.requires_grad_()
    y = call(x)
    return [y.detach(), *torch.autograd.grad(y.square().sum(), [x, *gate.parameters()])]
