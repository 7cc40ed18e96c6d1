"""An operation tried out on the skeleton: a network that runs before must run after, and answer in the same shapes."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from surgeon.anatomy.observation import Observation
from surgeon.attention import Gate, attention_modules
from surgeon.attention.layouts import Layout
from surgeon.errors import CheckFailed
from surgeon.outside.torch import tree_flatten, tree_map_only
from surgeon.sites import Site
from surgeon.surgery import splice
from surgeon.trace.graph import Graph
from surgeon.trace.shapes import Shapes
from surgeon.trace.skeleton import Listener, listening
from surgeon.trace.state import preserved


class _Whole:
    """All modules run, without their hooks."""

    def called(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return module.forward(*args, **kwargs)


class _Changed(_Whole):
    """Only modules with something new inside run; others that are given the same as before return the same."""

    def __init__(self, graph: Graph, sites: Iterable[Site]) -> None:
        self.paths = {
            ".".join(site.module.split(".")[:count]) for site in sites for count in range(site.module.count(".") + 2)
        }
        self.before: dict[nn.Module, deque[Graph]] = {}
        for call in graph.walk():
            self.before.setdefault(call.module, deque()).append(call)

    def called(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        graph = self.before[module].popleft() if self.before.get(module) else None
        if (
            graph is None
            or graph.path in self.paths
            or kind(args) != kind(graph.args)
            or kind(kwargs) != kind(graph.kwargs)
        ):
            return super().called(module, args, kwargs)
        result = graph.result
        return (
            torch.empty_like(result)
            if isinstance(result, torch.Tensor)
            else tree_map_only(torch.Tensor, torch.empty_like, result)
        )


def try_out(observation: Observation, stitches: Sequence[splice.Stitch]) -> None:
    """Put gates that only hand on into the skeleton that was watched, and run it on the very same example.

    Raises:
        CheckFailed: it does not run, or answers otherwise.
    """
    sites = {site: stitch for stitch in stitches for site in stitch.children}
    own = {
        id(stitch): replace(stitch, module=observation.model.get_submodule(site.module))
        for site, stitch in sites.items()
    }
    splice.put_in(list(own.values()), {site: _blank(site) for site in sites})
    for gate in attention_modules(observation.model).values():
        # What is inside a gate was looked at when it was planned.
        vars(gate)["attend"] = torch.clone
    graph = observation.scene.graph
    if observation.hooks or _answer(observation, _Changed(graph, sites)) != kind(graph.result):
        # A module that did not run may have left something for another.
        answer = _answer(observation, None if observation.hooks else _Whole())
        if isinstance(answer, Exception):
            raise CheckFailed(
                f"the network would not run with attention in it: {_first_line(answer)}; nothing was changed."
            ) from answer
        if answer != kind(graph.result):
            raise CheckFailed("the network would answer in other shapes with attention in it; nothing was changed.")


def _answer(observation: Observation, listener: Listener | None) -> object:
    """The kind of what the skeleton answers, or the error that stops it."""
    graph = observation.scene.graph
    trunk = observation.model.get_submodule(graph.path)
    try:
        with preserved(observation.model), listening(trunk, listener), torch.no_grad(), Shapes():
            # Lists of their own, since a forward may change those that it is called with.
            args, kwargs = tree_map_only(torch.Tensor, lambda tensor: tensor, (graph.args, graph.kwargs))
            return kind(trunk(*args, **kwargs))
    except Exception as error:  # the model's own code, which may raise anything
        return error


def _blank(site: Site) -> Gate:
    gate = Gate(site.channels, dims=len(site.size))
    gate.layout = None if site.layout == "NCHW" else Layout(site.layout, site.size, site.prefix)
    return gate.eval()


def kind(result: object) -> tuple[object, ...]:
    """All of an answer but its numbers."""
    if isinstance(result, torch.Tensor):
        return result.shape, result.dtype
    if type(result) is tuple and all(isinstance(item, torch.Tensor) for item in result):
        return tuple((item.shape, item.dtype) for item in result)
    leaves, structure = tree_flatten(result)
    return structure, *((leaf.shape, leaf.dtype) if isinstance(leaf, torch.Tensor) else type(leaf) for leaf in leaves)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
