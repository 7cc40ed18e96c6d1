"""What a gate does to a map, and what it costs, found on fake tensors: no weights, no arithmetic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.utils.flop_counter import flop_registry

from surgeon.attention.faked import check
from surgeon.attention.foreign import Foreign
from surgeon.attention.gate import Gate
from surgeon.outside.torch import OpOverload, TorchDispatchMode, packet


class Cost(NamedTuple):
    """What attention costs on one image.

    parameters: how many weights it has.
    macs: multiply-adds of convolutions and linear layers.
    """

    parameters: int
    macs: int


def probe(
    gate: nn.Module, shape: Sequence[int], dtype: torch.dtype = torch.float32, *, device: str | torch.device = "cpu"
) -> None:
    """Check that `gate` keeps shape, dtype and device of a map of `shape` (N, C, *spatial).

    Raises:
        BadModule: it does not, or it does not run.
    """
    if isinstance(gate, Foreign):
        # The module inside it alone: on a map of another shape, the arithmetic around it would fail first.
        inputs = gate.inner_input(torch.empty(tuple(shape), device="meta"))
        check(gate.inner, tuple(inputs.shape), dtype, device)
    else:
        check(gate, tuple(shape), dtype, device)


# Under a caller's inference mode operators arrive whole, and tensors tell no version.
@torch.inference_mode(False)
def cost(gate: Gate, shape: Sequence[int]) -> Cost:
    """What `gate` costs on one image of `shape` (C, *spatial): weights, and multiply-adds.

    Multiply-adds are those of convolutions and linear layers, as the papers count; an MLP that runs twice
    counts twice.

    >>> cost(build("se", 256, init="paper"), (256, 56, 56))
    Cost(parameters=8464, macs=8192)
    """
    with Flops() as counter:
        if _is_shape_only(gate):
            with torch.no_grad():
                gate.attend(torch.empty(1, *shape, device="meta"))
        else:
            probe(gate, (1, *shape))
    parameters = sum(weight.numel() for weight in gate.parameters())
    return Cost(parameters, counter.total // 2)


class Flops(TorchDispatchMode):
    """Counts by torch's own table; its FlopCounterMode would hook every module of the process, in any thread."""

    total = 0

    def __torch_dispatch__(
        self, func: OpOverload, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        options = dict(kwargs or {})
        count = flop_registry.get(packet(func))
        result = func(*args, **options)
        self.total += count(*args, **options, out_val=result) if count else 0
        return result


def _is_shape_only(gate: Gate) -> bool:
    """True for a gate of surgeon's own on meta: it runs as it is, and is known to keep its input's shape."""
    return not isinstance(gate, Foreign) and all(weight.is_meta for weight in gate.parameters())
