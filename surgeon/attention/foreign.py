"""Attention that surgeon did not write: timm's, a user's own class, any module that keeps the shape."""

import torch
from torch import nn

from surgeon.attention.gate import Gate, gamma
from surgeon.attention.precision import wide
from surgeon.errors import BadModule


class Foreign(Gate):
    """`x + gamma * (inner(x) - x)`, or `inner(x)` itself with `init="paper"`.

    Args:
        inner: a module that returns a map of the shape, dtype and device that it is given.
    """

    def __init__(self, inner, channels, *, init="identity", dims=2):
        super().__init__(channels, init=init, dims=dims)
        if not isinstance(inner, nn.Module):
            raise BadModule(f"the attention made a {type(inner).__name__}, not a torch.nn.Module.")
        self.inner = inner
        self.gamma = gamma(init)

    def attend(self, x):
        y = self.inner(x)
        if self.gamma is not None:
            return _Mix.apply(x, y, self.gamma)
        # The module may need its own result in the backward pass, and the network goes on in place.
        return y.clone() if y.requires_grad else y


class _Mix(torch.autograd.Function):
    """`x + gamma * (y - x)`, and exactly `x` where gamma is 0, whatever y is there.

    Written out, 0 * (y - x) is NaN where y is infinite, and -0.0 + 0.0 is not -0.0; a `where` alone would
    leave gamma without a gradient.
    """

    @staticmethod
    def forward(ctx, x, y, gamma):
        ctx.save_for_backward(x, y, gamma)
        return torch.where(gamma == 0, x, x + gamma.to(x.dtype) * (y - x))

    @staticmethod
    def backward(ctx, grad):
        x, y, gamma = ctx.saved_tensors
        part = gamma.to(x.dtype)
        along = grad.to(wide(x.dtype)) * (y.to(wide(x.dtype)) - x)
        return grad * (1 - part), grad * part, along.sum().reshape(1).to(gamma.dtype)
