"""Attention as compiled loops, while the network around it stays as it is."""

from __future__ import annotations

import warnings
from typing import TypeVar

from torch import nn

from surgeon.attention.gates import attention_modules
from surgeon.attention.passes.loops import missing
from surgeon.errors import BadModel, NotCompiled

Model = TypeVar("Model", bound=nn.Module)


def compile(model: Model) -> Model:
    """Let the attention of `model` run as loops that torch.compile makes, in place; returns `model`.

    A map is read and written fewer times, on the way there and on the way back: docs/performance.md has the figures.
    The outputs are the same to rounding, and the same to the bit while the attention is at an exact start. Loops are
    compiled at the first call, once for each dtype and order in memory, whatever the sizes; hooks, adapters and saving
    see the same layers as before. Modules that surgeon did not write stay as they are.

    It needs what torch.compile needs, on a CPU a C++ compiler; where that is missing it warns, and the network stays as
    it is.

    Raises:
        BadModel: it has no attention.

    >>> model = surgeon.compile(surgeon.inject(torchvision.models.resnet50(), "cbam"))
    """
    gates = attention_modules(model)
    if not gates:
        raise BadModel("this model has no attention to compile; inject some first.")
    devices = {weight.device for gate in gates.values() for weight in gate.parameters() if not weight.is_meta}
    for device in devices:
        reason = missing(device)
        if reason is not None:
            warnings.warn(f"attention is not compiled, and runs as before: {reason}", NotCompiled, stacklevel=2)
            return model
    for gate in gates.values():
        gate.passes = "compiled"
    return model
