"""Who makes the passes over a map: torch's operators one by one, or loops compiled from the formulas."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

Pair = tuple[Tensor | None, Tensor | None]


class Kernels(Protocol):
    """What each computes is in `formulas`; maps are (N, C, *spatial) on the way there, (N, C, L) on the way back."""

    def pools(self, x: Tensor, learns: bool) -> tuple[Tensor, Tensor, Tensor | None]:
        """Mean and maximum of each channel (N, C), and if it `learns`, the position of the first maximum."""

    def squeeze(self, x: Tensor, s: Tensor | None, learns: bool) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
        """Mean and maximum of `x * s` at each position (N, L), if it `learns` the first channel at the maximum; and
        `x * s` itself, if it was written down."""

    def product(self, x: Tensor, s: Tensor | None, t: Tensor | None, made: Tensor | None) -> Tensor:
        """`x * s * t`, of factors with as many axes; `made` is `x * s`, and may be written into."""

    def sums(self, g: Tensor, x: Tensor, s: Tensor | None, t: Tensor | None, of: tuple[bool, bool]) -> Pair:
        """The sums of `g * x * t` over the positions and of `g * x * s` over the channels, each if it is asked for."""

    def weighted(self, x: Tensor, weights: Tensor) -> Tensor:
        """The sums of `x * weights` over the positions."""

    def spread(
        self, g: Tensor, s: Tensor | None, t: Tensor | None, each: Tensor | None, inside: bool, pool: Tensor | None
    ) -> Tensor:
        """The gradient of the map, but for what its maxima get; nobody else holds it."""
