"""Attention that surgeon did not write: timm's, a user's own class, any module that keeps the shape.

Modules that are written for images get a video frame by frame, and a sequence as one column of pixels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from surgeon.attention.faked import runs
from surgeon.attention.gate import Gate, Init, gamma
from surgeon.attention.mix import mixed
from surgeon.attention.passes.capture import is_traced
from surgeon.errors import BadModule


class Foreign(Gate):
    """`x + gamma * (inner(x) - x)`, or `inner(x)` itself with `init="paper"`.

    `init="eager"` and `"neutral"` are as identity: only the author of the module knows what its last layer is.

    Args:
        inner: a module that returns a map of the shape, dtype and device that it is given. It sees autocast and
            the network's precision as they are; and images, where it does not run on maps of `dims` spatial axes.
    """

    def __init__(self, inner: nn.Module, channels: int, *, init: Init = "identity", dims: int = 2) -> None:
        super().__init__(channels, init=init, dims=dims)
        if not isinstance(inner, nn.Module):
            raise BadModule(f"the attention made {type(inner).__name__!r}, not a torch.nn.Module.")
        self.inner = inner
        self.inner_dims = _dims_of(inner, channels, dims)
        self.gamma = gamma("paper" if init == "paper" else "identity")
        if self.gamma is not None and _is_identity(inner, channels, self.inner_dims):
            self._keep_one_zero(self.gamma)

    def _keep_one_zero(self, gamma: nn.Parameter) -> None:
        # One zero is enough: timm's non-local block ends in weights of 0, and behind a gamma of 0 neither
        # would ever get a gradient. Where the zero is of the module's own making, gamma gives way.
        for layer in self.inner.modules():
            weight = getattr(layer, "weight", None)
            reset = getattr(layer, "reset_parameters", None)
            if weight is not None and reset is not None and not weight.any():
                reset()
        if _is_identity(self.inner, self.channels, self.inner_dims):
            nn.init.ones_(gamma)

    def inner_input(self, x: Tensor) -> Tensor:
        """What the inner module gets of the map `x`: the frames of a video in the batch, where it takes images only."""
        return as_images(x, self.inner_dims)

    def attend(self, x: Tensor) -> Tensor:
        y = from_images(self.inner(self.inner_input(x)), x)
        if self.gamma is not None:
            return mixed(x, y, self.gamma)
        # The module may need its own result in the backward pass, and the network goes on in place. A trace is checked
        # against one without gradients.
        return y.clone() if y.requires_grad or is_traced() else y


def _dims_of(inner: nn.Module, channels: int, dims: int) -> int:
    """How many spatial axes `inner` takes: those of the network's maps, or two if it runs on images alone."""
    if dims == 2 or _takes(inner, channels, dims) or not _takes(inner, channels, 2):
        return dims
    return 2


def _takes(inner: nn.Module, channels: int, dims: int) -> bool:
    """Whether `inner` runs on maps of `dims` spatial axes."""
    # Lengths that differ, so that no axis passes for another by chance, and that blocks of 4, 7 and 8 pixels divide.
    batch, *size = [length for length in (5, 56, 112, 168, 224) if length != channels]
    return runs(inner, (batch, channels, *size[:dims]))


@torch.no_grad()
def _is_identity(inner: nn.Module, channels: int, dims: int) -> bool:
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
        # `probe` says what this module can't do, on a map of the size that it is meant for.
        return False
    finally:
        for module, training in modes.items():
            module.training = training


def as_images(x: Tensor, dims: int) -> Tensor:
    """The map `x` with `dims` spatial axes.

    If it has more, the first ones join the batch; if it has fewer, new ones have length 1.

    >>> as_images(torch.zeros(2, 16, 5, 8, 9), 2).shape, as_images(torch.zeros(2, 16, 30), 2).shape
    (torch.Size([10, 16, 8, 9]), torch.Size([2, 16, 30, 1]))
    """
    frames = x.dim() - 2 - dims
    if frames > 0:
        return x.movedim(1, 1 + frames).flatten(0, frames)
    index = (..., *[None] * -frames)
    return x[index]


def from_images(y: Tensor, x: Tensor) -> Tensor:
    """What a module made of `as_images(x)`, with the axes of `x`."""
    frames = x.dim() - y.dim()
    if frames > 0:
        y = y.unflatten(0, (x.shape[0], *x.shape[2 : 2 + frames])).movedim(1 + frames, 1)
    elif frames < 0:
        y = y.flatten(x.dim() - 1)
    # The network may go on with a `.view`.
    return y.contiguous() if frames and x.is_contiguous() else y
