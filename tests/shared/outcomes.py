"""What gates give and what they pass back, compiled and as they are."""

from collections.abc import Callable

import torch


class SideBySide(torch.nn.ModuleList):
    """Gates in one program, each with a map of its own: a program costs a second or two, however many gates are in it."""

    def forward(self, maps: list[torch.Tensor]) -> list[torch.Tensor]:
        return [gate(x) for gate, x in zip(self, maps, strict=True)]


def same_outcome(compiled: Callable, gate: torch.nn.Module, x: torch.Tensor) -> None:
    """Outputs and gradients agree, and no branch is dead."""
    same_outcomes(lambda maps: [compiled(*maps)], SideBySide([gate]), x)


def same_outcomes(compiled: Callable, gates: SideBySide, x: torch.Tensor) -> None:
    """The same for each of `gates`."""
    for (y, *grads), (want, *others) in zip(outcomes(compiled, gates, x), outcomes(gates, gates, x), strict=True):
        torch.testing.assert_close(y, want, rtol=1e-4, atol=1e-5)
        # What is 0 but for rounding, such as the gradient of a bias before a normalisation, is small beside the others.
        largest = max(float(grad.abs().max()) for grad in others)
        torch.testing.assert_close(grads, others, rtol=1e-3, atol=1e-5 * largest)
        assert all(grad.any() for grad in others if grad.dim() > 1) and not torch.allclose(y, x)


def outcomes(call: Callable, gates: SideBySide, x: torch.Tensor) -> list[list[torch.Tensor]]:
    """For each gate its output and the gradients of its squares; at once, since the next call moves the statistics that they need."""
    maps = [x.clone().requires_grad_() for _ in gates]
    found = call(maps)
    leaves = [[own, *gate.parameters()] for own, gate in zip(maps, gates)]
    grads = iter(torch.autograd.grad(sum(y.square().sum() for y in found), [leaf for part in leaves for leaf in part]))
    return [[y.detach(), *(next(grads) for _ in part)] for y, part in zip(found, leaves)]
