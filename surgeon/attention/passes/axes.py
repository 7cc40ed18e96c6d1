"""Numbers for each channel or position of a map, with the axes that the map has."""

from __future__ import annotations

from typing import TypeVar

from torch import Tensor

Numbers = TypeVar("Numbers", Tensor, None, Tensor | None)


def as_channels(s: Numbers, x: Tensor) -> Numbers:
    """Factors of channels (N, C) with as many axes as the map `x`."""
    if s is None:
        return None
    index = (..., *[None] * (x.dim() - 2))
    return s[index]


def as_positions(t: Numbers, x: Tensor) -> Numbers:
    """Factors of positions (N, L) with the axes of the map `x`: (N, 1, *spatial)."""
    return None if t is None else t.unflatten(1, x.shape[2:]).unsqueeze(1)
