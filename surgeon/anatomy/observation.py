"""What was seen of a model: its run on an example, the places in it, and its forwards as they are asked for."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import nn

from surgeon.anatomy import sizes
from surgeon.anatomy.scene import Scene
from surgeon.attention.layouts import TOKENS
from surgeon.errors import Untraceable
from surgeon.forward.alike import carried_over, kind_of
from surgeon.forward.kept import Kept, kept
from surgeon.forward.rewrite import Rewritable, rewritable
from surgeon.outside.torch import tree_map_only
from surgeon.trace.graph import Graph
from surgeon.trace.inputs import Arguments
from surgeon.trace.recorder import observe
from surgeon.trace.state import preserved

if TYPE_CHECKING:
    from surgeon.forward.reading import Readings
    from surgeon.sites import Site


# Pixels on a side of the last map: two windows of two pixels fit in.
SMALL = 4
# Pixels on a side of the images that most networks are made for.
USUAL = 224


class Observation:
    """What was seen of a model.

    model: the skeleton of the whole model. scene: the run, for rules to look at; of a detector that of its backbone.
    called: what it ran on. example: the user's own arguments, with numbers in them; None for a guess.
    hooks: whether it ran with its hooks, since it does not run without.
    was_guessed: whether nobody said what to run it on.
    """

    def __init__(
        self,
        model: nn.Module,
        graph: Graph,
        called: Arguments,
        *,
        example: Arguments | None = None,
        hooks: bool = False,
    ) -> None:
        self.model = model
        self.scene = Scene(graph)
        self.example = example
        self.hooks = hooks
        self.called = called
        self.was_guessed = False
        self._forwards: dict[Graph, Rewritable | Kept] = {}
        self._kinds: dict[Hashable, list[Graph]] = {}

    def readings(self, site: Site) -> Readings | None:
        """Where the owner of a site can read the size of the map that its tokens are; None where it can't."""
        found = self._tokens(site)
        return None if found is None else sizes.readings(found, self._again(found))

    def source(self, site: Site) -> sizes.Source | None:
        """What knows the size of the map of the tokens at a site; None if that is the same, whatever the image."""
        found = self._tokens(site)
        again = None if found is None else self._again(found)
        return None if found is None or again is None else sizes.source(found, again, self.scene.graph)

    @cached_property
    def larger(self) -> Scene | None:
        """The same on a larger image, if the last map is so small that windows of it may have one pixel; else None.

        One pixel, or one window, can't be told from an axis that counts something else. None as well on an image as
        large as such networks take: one whose last map has a single pixel there ends in one on purpose.
        """
        if self.was_guessed or min(self.scene.maps.image.shape[-2:]) >= USUAL:
            return None
        ends = [self.scene.maps[step.value] for step in self.scene.steps[-1:]]
        if not any(found is not None and min(found.size) < SMALL for found in ends) or self._elsewhere is None:
            return None
        return Scene(self._elsewhere)

    def _again(self, tokens: sizes.Tokens) -> sizes.Tokens | None:
        """The same tokens in the run elsewhere."""
        return None if self._elsewhere is None else sizes.same(tokens, self._elsewhere)

    def _tokens(self, site: Site) -> sizes.Tokens | None:
        if site.layout not in TOKENS or len(site.size) < 2 or site.replaces:
            return None
        graph = next((graph for graph in self.scene.graphs if graph.path == site.module), None)
        if graph is None:
            return None
        is_inside = site.after.split(".")[0] not in ("input", "output")
        forward = self.rewrites_of(site.module) if is_inside else None
        value = sizes.named(site.after, graph, forward.names if forward else {})
        # Of a forward that is kept as it is nothing can be read but what it is given.
        names = forward.names if isinstance(forward, Rewritable) else {}
        return None if value is None else sizes.Tokens(value, site.layout, graph, names, is_inside)

    @cached_property
    def _elsewhere(self) -> Graph | None:
        """The run on an image of other proportions, which no number of pixels is the same in; None if there is none."""
        args, kwargs = tree_map_only(torch.Tensor, _larger, tuple(self.called))
        with preserved(self.model):
            graph, _ = observe(self.model, args, kwargs, hooks=self.hooks)
        return next((inner for inner in graph.walk() if inner.path == self.scene.graph.path and inner.finished), None)

    def rewrites(self, graph: Graph) -> Rewritable | Kept:
        """The forward of one recorded call as fx graphs, or kept as it is; each is traced once."""
        if graph not in self._forwards:
            alike = self._kinds.setdefault(kind_of(graph), [])
            try:
                self._forwards[graph] = self._as_before(graph, alike) or rewritable(graph)
                alike.append(graph)
            except Untraceable as reason:
                self._forwards[graph] = kept(graph, reason)
        return self._forwards[graph]

    def _as_before(self, graph: Graph, alike: list[Graph]) -> Rewritable | None:
        """The forward of a block that did the same as `graph`, with the names for its values; None if none did."""
        for old in alike:
            forward = self._forwards[old]
            assert isinstance(forward, Rewritable), "no other forward is alike"
            names = carried_over(forward.names, old, graph)
            if names is not None and forward.holds_for(graph.module):
                return replace(forward, names=names)
        return None

    def rewrites_of(self, path: str) -> Rewritable | Kept:
        """As `rewrites`, by the module's path.

        Raises:
            Untraceable: it is called several times, and does not do the same each time, or not at all.
        """
        calls = [graph for graph in self.scene.graphs if graph.path == path]
        if not calls:
            raise Untraceable(f"{path}: the model does not run this module on the example input.")
        first, *others = (self.rewrites(graph) for graph in calls)
        if not all(other.does_as(first) for other in others):
            raise Untraceable(f"{path}: is called in several ways, and its forward differs between them.")
        return first


def _larger(tensor: torch.Tensor) -> torch.Tensor:
    """Twice as many rows of pixels and four times as many columns, all even; anything that is no image as it is."""
    if tensor.dim() not in (4, 5) or not tensor.is_floating_point():
        return tensor
    *rest, height, width = tensor.shape
    return tensor.new_zeros((*rest, 2 * height, 4 * width))
