"""Who makes the passes over a map: torch's operators one by one, loops compiled for a CPU, or kernels of a GPU."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from torch import Tensor

from surgeon.attention.passes.formulas import Combine

Pair = tuple[Tensor | None, Tensor | None]


class Additions(NamedTuple):
    """What the gradient of a map has beside that of the product.

    squeezed: the gradients of mean and maximum over the channels (N, 2, L).
    max_first: whether the maximum is the first of the two.
    channels: at which each position is first at its maximum (N, L).
    inside: whether both were taken of `x * s`, and not of `x`.
    pooled: the gradients of mean and maximum over the positions (N, 2, C).
    positions: at which each channel is first at its maximum (N, C).
    averaged: the gradient of that mean alone (N, C).
    """

    squeezed: Tensor | None = None
    max_first: bool = False
    channels: Tensor | None = None
    inside: bool = True
    pooled: Tensor | None = None
    positions: Tensor | None = None
    averaged: Tensor | None = None

    @property
    def of_mean(self) -> Tensor | None:
        return None if self.squeezed is None else ordered(self.squeezed, self.max_first)[0]

    @property
    def of_max(self) -> Tensor | None:
        return None if self.squeezed is None else ordered(self.squeezed, self.max_first)[1]

    @property
    def of_average(self) -> Tensor | None:
        return self.averaged if self.pooled is None else self.pooled[:, 0]

    @property
    def of_peak(self) -> Tensor | None:
        return None if self.pooled is None else self.pooled[:, 1]


def ordered(pair: Tensor, max_first: bool) -> tuple[Tensor, Tensor]:
    """Of (N, 2, numbers) what belongs to the mean, and what to the maximum."""
    one, other = pair.unbind(1)
    return (other, one) if max_first else (one, other)


class WayBack(Protocol):
    """What each computes is in `formulas`; maps are (N, C, L)."""

    def sums(self, g: Tensor, x: Tensor, s: Tensor | None, t: Tensor | None, of: tuple[bool, bool]) -> Pair:
        """The sums of `g * x * t` over the positions and of `g * x * s` over the channels, each if it is asked for."""

    def weighted(self, x: Tensor, squeezed: Tensor, max_first: bool, channels: Tensor) -> Tensor:
        """What factors of `x` get from the gradients of mean and maximum over the channels (N, C)."""

    def spread(self, g: Tensor, s: Tensor | None, t: Tensor | None, more: Additions) -> Tensor:
        """The gradient of the map; nobody else holds it."""

    def blend(self, x: Tensor, a: Tensor, b: Tensor, offset: Tensor, factor: Tensor, how: Combine) -> Tensor:
        """`x * (offset + factor * sigmoid(a combined with b))`, of scores (N, C) and (N, L)."""

    def blend_sums(
        self, g: Tensor, x: Tensor, a: Tensor, b: Tensor, factor: Tensor, how: Combine, acts: bool
    ) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
        """What `a`, `b` and, where it is the `acts`, `offset` and `factor` get from the gradient `g` of a blend."""


class Kernels(WayBack, Protocol):
    """The way there as well; maps are (N, C, *spatial), factors of channels (N, C), of positions (N, L)."""

    def average(self, x: Tensor) -> Tensor:
        """The mean of each channel (N, C)."""

    def pools(self, x: Tensor, learns: bool) -> tuple[Tensor, Tensor | None]:
        """Mean and maximum of each channel (N, 2, C), and if it `learns`, the position of the first maximum (N, C)."""

    def squeeze(
        self, x: Tensor, s: Tensor | None, max_first: bool, learns: bool
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Mean and maximum of `x * s` at each position (N, 2, L), if it `learns` the first channel at the maximum
        (N, L); and `x * s` itself, if it was written down."""

    def product(self, x: Tensor, s: Tensor | None, t: Tensor | None, made: Tensor | None) -> Tensor:
        """`x * s * t`; `made` is `x * s`, and may be written into."""
