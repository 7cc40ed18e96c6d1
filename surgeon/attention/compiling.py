"""Attention as loops compiled for a processor, while the network around it stays as it is."""

from __future__ import annotations

import warnings
from typing import TypeVar

from torch import nn

from surgeon.attention.gates import attention_modules
from surgeon.attention.passes.compiled.library import missing
from surgeon.errors import BadModel, NotCompiled

Model = TypeVar("Model", bound=nn.Module)


def compile(model: Model) -> Model:
    """Let the attention of `model` run as loops compiled for this CPU, in place; returns `model`.

    A map is read and written fewer times, on the way there and on the way back: docs/performance.md has the figures.
    The outputs are the same to rounding, and the same to the bit while the attention is at an exact start. Loops are
    compiled once for each dtype, in seconds, and kept in the user's folder of caches, whatever the network and the
    sizes; hooks, adapters and saving see the same layers as before. Modules that surgeon did not write stay as they
    are. On a GPU there is nothing to compile: attention runs by kernels of its own as it comes.

    It needs a C++ compiler; where that is missing it warns, and the network stays as it is.

    Raises:
        BadModel: it has no attention.

    >>> model = surgeon.compile(surgeon.inject(torchvision.models.resnet50(), "cbam"))
    """
    gates = attention_modules(model)
    if not gates:
        raise BadModel("this model has no attention to compile; inject some first.")
    weights = [weight for gate in gates.values() for weight in gate.parameters()]
    for dtype in {weight.dtype for weight in weights if weight.device.type == "cpu"}:
        reason = missing(dtype)
        if reason is not None:
            warnings.warn(f"attention is not compiled, and runs as before: {reason}", NotCompiled, stacklevel=2)
            return model
    for gate in gates.values():
        gate.passes = "compiled"
    return model
