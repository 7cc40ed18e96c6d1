"""One map under attention: what is read of it, and the product at the end."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from surgeon.attention.passes import plain
from surgeon.attention.passes.axes import as_channels
from surgeon.attention.passes.capture import is_ours
from surgeon.attention.passes.choice import DEFAULT, Passes, chosen
from surgeon.attention.passes.dtypes import mean
from surgeon.attention.passes.formulas import Combine
from surgeon.attention.passes.gradients import Blend, Maxima, Product, Read, Squeeze, Start


class Scan:
    """The passes over the map `x` (N, C, *spatial).

    All numbers that are read of it are in float32 or better. Factors of channels are (N, C), those of positions are
    (N, 1, *spatial).

    Args:
        passes: what makes them. Where others record or transform what happens, plain operators do.
        apart: whether `squeeze` looks at the map itself although the product has factors of channels.
        beside: whether layers of the gate read the map themselves; they are given `scan.beside`.

    >>> scan = Scan(torch.tensor([[[1.0, 2.0]]]))
    >>> scan.product(2 * scan.average())
    tensor([[[3., 6.]]])
    """

    def __init__(self, x: Tensor, passes: Passes = DEFAULT, *, apart: bool = False, beside: bool = False) -> None:
        self.x, self.apart = x, apart
        # Made before all else: so autograd adds what its readers send back to the gradient of the product, and not the
        # other way round. The sum lies in memory as the first of the two, and by that later layers round. And it is a
        # tensor of its own: relevance propagation hooks what layers are given, and the network has more to do with x.
        self.beside = x.view_as(x) if beside else x
        self.kernels = chosen(passes, x) if is_ours(x) else None
        self.made: Tensor | None = None
        self.learns = torch.is_grad_enabled()
        self.maxima = Maxima()
        self._sends: tuple[Tensor, ...] = ()

    def average(self) -> Tensor:
        """The mean of each channel."""
        if self.kernels is None or self._sends:
            return mean(self.x, tuple(range(2, self.x.dim())))
        return self._started("average") if self.learns else self.kernels.average(self.x)

    def pools(self) -> Tensor:
        """The mean and the maximum of each channel (N, 2, C)."""
        if self.kernels is None or self._sends:
            return plain.pools(self.x)
        return self._started("pools") if self.learns else self.kernels.pools(self.x, False)[0]

    def _started(self, read: Read | None = None) -> Any:
        """What is read of the map first, which costs no function of its own; and from here on messages can be sent."""
        found, *self._sends = Start.apply(self.x, self.kernels, not self.apart, self.maxima, read)
        return found

    def _messages(self) -> Any:
        if not self._sends:
            self._started()
        return self._sends

    def squeeze(self, s: Tensor | None, *, max_first: bool = False) -> Tensor:
        """The mean and the maximum over the channels, each times its factor in `s` if there is one (N, 2, *spatial)."""
        if self.kernels is None:
            pair, self.made = plain.squeeze(self.x, as_channels(s, self.x), max_first)
            return pair
        if self.learns:
            made: list[Tensor | None] = []
            pair = Squeeze.apply(self.x, s, *self._messages()[3:], self.kernels, self.maxima, max_first, made)
            (self.made,) = made
        else:
            pair, _, self.made = self.kernels.squeeze(self.x, s, max_first, False)
        return pair.unflatten(2, self.x.shape[2:])

    def product(self, s: Tensor | None, t: Tensor | None = None) -> Tensor:
        """The map with its factors: those of the channels, which `squeeze` had as well, and those of the positions."""
        if self.kernels is None:
            return plain.product(self.x, as_channels(s, self.x), t, self.made)
        flat = None if t is None else t.flatten(1)
        if self.learns:
            return Product.apply(self.x, s, flat, *self._messages()[:3], self.kernels, [self.made])
        return self.kernels.product(self.x, s, flat, self.made)

    def blend(self, a: Tensor, b: Tensor, how: Combine, offset: Tensor, factor: Tensor) -> Tensor:
        """The map times `offset + factor * sigmoid(a combined with b)`, of scores of the channels and of positions.

        Args:
            offset, factor: tensors of one number.
        """
        if self.kernels is None:
            return plain.blend(self.x, as_channels(a, self.x), b, offset, factor, how)
        b = b.flatten(1)
        if self.learns:
            return Blend.apply(self.x, a, b, offset, factor, self._messages()[0], self.kernels, how)
        flat = self.x.flatten(2)
        return self.kernels.blend(flat, a, b, offset, factor, how).reshape(self.x.shape)
