"""Attention that surgeon did not write: timm's, a user's own class, any module that keeps the shape.

Modules that are written for images get a video frame by frame, and a sequence as one column of pixels.
"""

import torch
from torch import nn

from surgeon.attention.gate import Gate, gamma
from surgeon.attention.precision import wide
from surgeon.attention.probing import runs
from surgeon.errors import BadModule


class Foreign(Gate):
    """`x + gamma * (inner(x) - x)`, or `inner(x)` itself with `init="paper"`. What its last layer is, only its author knows: neutral is as identity.

    Args:
        inner: a module that returns a map of the shape, dtype and device that it is given. It sees autocast and
            the network's precision as they are; and images, where it does not run on maps of `dims` spatial axes.
    """

    def __init__(self, inner, channels, *, init="identity", dims=2):
        super().__init__(channels, init=init, dims=dims)
        if not isinstance(inner, nn.Module):
            raise BadModule(f"the attention made {type(inner).__name__!r}, not a torch.nn.Module.")
        self.inner = inner
        self.inner_dims = _dims_of(inner, channels, dims)
        self.gamma = gamma("paper" if init == "paper" else "identity")
        if self.gamma is not None and _is_neutral(inner, channels, self.inner_dims):
            self._wake()

    def _wake(self):
        # One zero is enough: timm's non-local block ends in weights of 0, and behind a gamma of 0 neither
        # would ever get a gradient. Where the zero is of the module's own making, gamma gives way.
        for layer in self.inner.modules():
            weight = getattr(layer, "weight", None)
            if weight is not None and hasattr(layer, "reset_parameters") and not weight.any():
                layer.reset_parameters()
        if _is_neutral(self.inner, self.channels, self.inner_dims):
            nn.init.ones_(self.gamma)

    def given(self, x):
        """What the inner module gets of the map `x`: the frames of a video in the batch, where it takes images only."""
        return as_images(x, self.inner_dims)

    def attend(self, x):
        y = as_before(self.inner(self.given(x)), x)
        if self.gamma is not None:
            # A trace that is saved can hold operators alone; trained further, it would not open a gamma of 0.
            return mixed(x, y, self.gamma) if torch.jit.is_tracing() else _Mix.apply(x, y, self.gamma)
        # The module may need its own result in the backward pass, and the network goes on in place.
        return y.clone() if y.requires_grad else y


def mixed(x, y, gamma):
    """`x + gamma * (y - x)`, and exactly `x` where gamma is 0 or y is x.

    Written out, 0 * (y - x) is NaN where y is infinite, and -0.0 + 0.0 is not -0.0.
    """
    return torch.where((gamma == 0) | (x == y), x, x + gamma.to(x.dtype) * (y - x))


class _Mix(torch.autograd.Function):
    """`mixed`, whose `where` alone would leave gamma without a gradient."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x, y, gamma):
        return mixed(x, y, gamma)

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx, grad):
        x, y, gamma = ctx.saved_tensors
        part = gamma.to(x.dtype)
        along = grad.to(wide(x.dtype)) * (y.to(wide(x.dtype)) - x)
        return grad * (1 - part), grad * part, along.sum().reshape(1).to(gamma.dtype)


def _dims_of(inner, channels, dims):
    """How many spatial axes `inner` takes: those of the network's maps, or two if it runs on images alone."""
    # Lengths that differ, so that no axis passes for another by chance, and that blocks of 4, 7 and 8 pixels divide.
    batch, *size = [n for n in (5, 56, 112, 168, 224) if n != channels]
    fits = lambda dims: runs(inner, (batch, channels, *size[:dims]))
    return 2 if dims != 2 and not fits(dims) and fits(2) else dims


@torch.no_grad()
def _is_neutral(inner, channels, dims):
    """Whether a fresh `inner` returns its input; tried on one small map, where it runs on such a map."""
    weights = list(inner.parameters())
    if not weights or weights[0].is_meta or type(weights[0]) is not nn.Parameter:
        return False
    x = torch.linspace(-1, 1, channels * 8**dims, dtype=weights[0].dtype, device=weights[0].device)
    x = x.reshape(1, channels, *[8] * dims)
    modes = {module: module.training for module in inner.modules()}
    try:
        return torch.equal(inner.eval()(x.clone()), x)
    except Exception:
        # What this module can't do is for `probe` to tell, on a map of the size that it is meant for.
        return False
    finally:
        for module, training in modes.items():
            module.training = training


def as_images(x, dims):
    """The map `x` with `dims` spatial axes: those too many join the batch, the first ones first; new ones have length 1.

    >>> as_images(torch.zeros(2, 16, 5, 8, 9), 2).shape, as_images(torch.zeros(2, 16, 30), 2).shape
    (torch.Size([10, 16, 8, 9]), torch.Size([2, 16, 30, 1]))
    """
    frames = x.dim() - 2 - dims
    if frames > 0:
        return x.movedim(1, 1 + frames).flatten(0, frames)
    return x[(..., *[None] * -frames)]


def as_before(y, x):
    """What a module made of `as_images(x)`, with the axes of `x`."""
    frames = x.dim() - y.dim()
    if frames > 0:
        y = y.unflatten(0, (x.shape[0], *x.shape[2 : 2 + frames])).movedim(1 + frames, 1)
    elif frames < 0:
        y = y.flatten(x.dim() - 1)
    # The network may go on with a `.view`.
    return y.contiguous() if frames and x.is_contiguous() else y
