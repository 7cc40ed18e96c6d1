"""Each pass once, on a map of random numbers, with all that it can be asked for; and how often it has to touch a map."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from surgeon.attention.passes import fused
from surgeon.attention.passes.dtypes import score_dtype
from surgeon.attention.passes.fused import launch as starting
from surgeon.attention.passes.kernels import Additions


class Pass(NamedTuple):
    """run: makes it. maps: how many maps it reads and writes, at the least."""

    run: Callable[[], Any]
    maps: int


class Launch(NamedTuple):
    """What a kernel was started with."""

    kernel: Any
    programs: int
    warps: int
    given: tuple[Any, ...]
    constants: dict[str, Any]


def passes(
    shape: tuple[int, ...], layout: torch.memory_format, dtype: torch.dtype, device: str = "cpu"
) -> dict[str, Pass]:
    """By name; of maps (N, C, H, W)."""
    with torch.device(device):
        return _passes(shape, layout, dtype)


def _passes(shape: tuple[int, ...], layout: torch.memory_format, dtype: torch.dtype) -> dict[str, Pass]:
    torch.manual_seed(0)
    x, g = (torch.randn(shape).to(dtype).contiguous(memory_format=layout) for _ in range(2))
    flat, of_flat = x.flatten(2), g.flatten(2)
    images, channels, positions = flat.shape
    s, t = _factors(images, channels, dtype), _factors(images, positions, dtype)
    channels_at = torch.randint(channels, (images, positions), dtype=torch.int32)
    positions_at = torch.randint(positions, (images, channels), dtype=torch.int32)
    squeezed, pooled = (torch.stack([numbers, numbers], 1) for numbers in (t, s))
    more = Additions(squeezed, True, channels_at, True, pooled, positions_at)
    one = _factors(1, 1, dtype)[0]
    axes = s[:, :, None, None], t.view(images, 1, *shape[2:])
    return {
        "pools": Pass(lambda: fused.pools(x, True), 1),
        "squeeze": Pass(lambda: fused.squeeze(x, axes[0], True, True), 1),
        "product": Pass(lambda: fused.product(x, *axes, None), 2),
        "sums": Pass(lambda: fused.sums(of_flat, flat, s, t, (True, True)), 2),
        "weighted": Pass(lambda: fused.weighted(flat, squeezed, True, channels_at), 1),
        "spread": Pass(lambda: fused.spread(of_flat, s, t, more), 2),
        "blend": Pass(lambda: fused.blend(flat, s, t, one, one, "product"), 2),
        "blend_sums": Pass(lambda: fused.blend_sums(of_flat, flat, s, t, one, "product", True), 2),
    }


def _factors(images: int, count: int, dtype: torch.dtype) -> Tensor:
    return torch.rand(images, count, dtype=score_dtype(dtype)) + 0.5


def launch(run: Callable[[], Any]) -> Launch:
    """What `run` starts, which is not started."""
    found: list[Launch] = []
    old = starting.start
    starting.start = lambda kernel, programs, warps, *given, **how: found.append(
        Launch(kernel, programs, warps, given, how)
    )
    try:
        run()
    finally:
        starting.start = old
    (only,) = found
    return only
