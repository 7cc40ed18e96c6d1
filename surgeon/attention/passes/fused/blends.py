"""BAM's product, and what its scores get from the gradient."""

from __future__ import annotations

import torch
from torch import Tensor

from surgeon.attention.passes.formulas import Combine
from surgeon.attention.passes.fused.launch import Parts, dense, tiled, whole
from surgeon.attention.passes.fused.tiles import blends


def blend(x: Tensor, a: Tensor, b: Tensor, offset: Tensor, factor: Tensor, how: Combine) -> Tensor:
    """`x * (offset + factor * sigmoid(a combined with b))`."""
    y = torch.empty_like(x)
    tiled(blends.blend, x, (x, *map(dense, (a, b, offset, factor)), y), (x, y), HOW=how)
    return y


def blend_sums(
    g: Tensor, x: Tensor, a: Tensor, b: Tensor, factor: Tensor, how: Combine, acts: bool
) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
    """What each of them gets from the gradient `g` of a blend."""
    parts = Parts("blend_sums", x)
    channels, positions = parts.results()
    found = channels.new_empty(parts.programs, 2) if acts else None
    parts.run(blends.blend_sums, g, x, dense(a), dense(b), channels, positions, found, HOW=how)
    of_acts = (None, None) if found is None else found.sum(0).split(1)
    return whole(channels) * factor, whole(positions) * factor, *of_acts
