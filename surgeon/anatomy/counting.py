"""Multiply-adds of each call of a module, counted in one more run of the skeleton."""

from __future__ import annotations

from collections import defaultdict
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import torch

from surgeon.attention.probing import Flops
from surgeon.outside.torch import plain_call
from surgeon.trace.skeleton import listening
from surgeon.trace.state import preserved

if TYPE_CHECKING:
    from torch import nn

    from surgeon.anatomy.observation import Observation
    from surgeon.trace.graph import Graph


class _Watch:
    """Notes what was counted inside each call of a module, by its path, in the order in which the calls began."""

    def __init__(self, model: nn.Module) -> None:
        self.flops = Flops()
        self.paths = {module: path for path, module in model.named_modules()}
        self.counts: dict[str, list[int]] = defaultdict(list)

    def called(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        counts = self.counts[self.paths.get(module, "")]
        number, before = len(counts), self.flops.total
        counts.append(0)
        try:
            return plain_call(module, args, kwargs)
        finally:
            counts[number] = self.flops.total - before


def macs(observation: Observation) -> dict[Graph, int]:
    """{each call on record: multiply-adds of its convolutions, linear layers and products of matrices, for one image}.

    Where the model stops half-way, as detectors do on shapes alone, what ran until then is counted.
    """
    model, (args, kwargs) = observation.model, observation.called
    watch = _Watch(model)
    with preserved(model), listening(model, watch), torch.no_grad(), suppress(Exception), watch.flops:
        watch.called(model, args, kwargs)
    counts, images = {path: iter(found) for path, found in watch.counts.items()}, 2 * observation.scene.maps.batch
    return {graph: next(counts.get(graph.path, iter(())), 0) // images for graph in observation.scene.graphs}
