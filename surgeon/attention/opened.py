"""How far a gate has opened: by how much it changes a map, as a share of the map."""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import nn

from surgeon.attention.foreign import Foreign
from surgeon.attention.gate import Gate
from surgeon.attention.gates import attention_modules


# What is copied under a caller's inference mode could not be run outside of it.
@torch.inference_mode(False)
def opened(model: nn.Module) -> dict[str, float | None]:
    """{path of each gate of `model`: the mean of |gate(x) - x| as a share of the mean of |x|, for a map x of noise}.

    The same noise for all, normally distributed, so that the numbers say how far gates have moved from letting
    everything pass, and not what they do to images. Where a gate takes a module's place, it is its share, how far it
    has taken it. None where that can't be told: its weights are elsewhere (meta, sharded), or it does not run alone.

    The model is as it was: copies of the gates run, in eval mode.
    """
    return {path: _opened(gate) for path, gate in attention_modules(model).items()}


def _opened(gate: Gate) -> float | None:
    tensors = [*gate.parameters(), *gate.buffers()]
    if any(tensor.is_meta or type(tensor) not in (torch.Tensor, nn.Parameter) for tensor in tensors):
        return None
    if gate.share is not None:
        return abs(gate.share.item())
    try:
        with torch.no_grad():
            return _change(gate)
    except Exception:
        # An adapter, a quantized layer, a module of somebody else's that does not run on this map.
        return None


def _change(gate: Gate) -> float:
    alone = deepcopy(gate).eval()
    alone.layout, alone.enabled, alone.maps = None, True, None
    first = next((weight for weight in alone.parameters()), torch.empty(()))
    # Some modules run only on the sizes that they were made for.
    size = gate.site.size if isinstance(gate, Foreign) and gate.site is not None else (8,) * gate.dims
    noise = torch.randn(2, gate.channels, *size, generator=torch.Generator().manual_seed(0))
    x = noise.to(first.device, first.dtype)
    return float((alone(x) - x).abs().mean() / x.abs().mean())
