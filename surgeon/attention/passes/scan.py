"""One map under attention: what is read of it, and the product at the end."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from surgeon.attention.passes import plain
from surgeon.attention.passes.axes import as_channels, as_positions
from surgeon.attention.passes.capture import is_captured, is_transformed
from surgeon.attention.passes.choice import DEFAULT, KERNELS, Passes
from surgeon.attention.passes.dtypes import mean
from surgeon.attention.passes.gradients import Average, Pools, Product, Squeeze, Start

# What a message of float32 tells apart.
MOST_PLACES = 2**24


class Scan:
    """The passes over the map `x` (N, C, *spatial).

    Means, maxima and factors are in float32 or better: of channels (N, C), of positions (N, 1, *spatial).

    Args:
        passes: what makes them. Where others record or transform what happens, plain operators do.
        apart: whether `squeeze` looks at the map itself although the product has factors of channels.

    >>> scan = Scan(torch.tensor([[[1.0, 2.0]]]))
    >>> scan.product(2 * scan.average())
    tensor([[[3., 6.]]])
    """

    def __init__(self, x: Tensor, passes: Passes = DEFAULT, *, apart: bool = False) -> None:
        self.x = x
        self.kernels = KERNELS[passes] if _is_ours(x) else None
        self.made: Tensor | None = None
        self.learns = torch.is_grad_enabled()
        if self.kernels is not None and self.learns:
            messages = Start.apply(x, self.kernels, not apart)
            self._product, self._squeeze, self._pools = messages[:3], messages[3:5], messages[5:]

    def average(self) -> Tensor:
        """The mean of each channel."""
        if self.kernels is None or not self.learns:
            return mean(self.x, tuple(range(2, self.x.dim())))
        return Average.apply(self.x, self._pools[0])

    def pools(self) -> tuple[Tensor, Tensor]:
        """The mean and the maximum of each channel."""
        if self.kernels is None:
            return plain.pools(self.x)
        if self.learns:
            return Pools.apply(self.x, *self._pools, self.kernels)
        means, maxima, _ = self.kernels.pools(self.x, False)
        return means, maxima

    def squeeze(self, s: Tensor | None) -> tuple[Tensor, Tensor]:
        """The mean and the maximum over the channels, each times its factor in `s` if there are any."""
        if self.kernels is None:
            means, maxima, self.made = plain.squeeze(self.x, as_channels(s, self.x))
            return means, maxima
        if self.learns:
            made: list[Tensor | None] = []
            means, maxima = Squeeze.apply(self.x, s, *self._squeeze, self.kernels, made)
            (self.made,) = made
        else:
            means, maxima, _, self.made = self.kernels.squeeze(self.x, as_channels(s, self.x), False)
        return as_positions(means, self.x), as_positions(maxima, self.x)

    def product(self, s: Tensor | None, t: Tensor | None = None) -> Tensor:
        """The map with its factors: those of the channels, which `squeeze` had as well, and those of the positions."""
        if self.kernels is not None and self.learns:
            flat = None if t is None else t.flatten(1)
            return Product.apply(self.x, s, flat, *self._product, self.kernels, [self.made])
        kernels = plain if self.kernels is None else self.kernels
        return kernels.product(self.x, as_channels(s, self.x), t, self.made)


def _is_ours(x: Tensor) -> bool:
    """Whether nobody looks on who would have to know the passes."""
    if type(x) not in (Tensor, nn.Parameter) or is_captured() or is_transformed():
        return False
    return x.numel() > 0 and max(x.shape[1], x[0, 0].numel()) <= MOST_PLACES
