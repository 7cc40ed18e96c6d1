"""The head of a network that ends in a map: what makes scores or an image of its last map of features."""

from __future__ import annotations

from itertools import dropwhile
from typing import TYPE_CHECKING, NamedTuple

from surgeon.anatomy.residual import Ways
from surgeon.anatomy.strides import takes_each_pixel, takes_one_pixel
from surgeon.trace.axes import MOVES, VIEWS
from surgeon.trace.graph import NOTHING

if TYPE_CHECKING:
    from surgeon.anatomy.maps import FeatureMap, Maps
    from surgeon.trace.graph import Graph, Node, Value

# Operators that leave scores what they are: bounds on them, other sizes, other layouts.
BOUNDS = {"sigmoid", "tanh", "hardtanh", "softmax", "log_softmax", "clamp", "clip"}
SIZES = {"interpolate", "upsample", "upsample_nearest", "upsample_bilinear", "pixel_shuffle", "pad"}
KEEPS = {"getitem", "contiguous", "clone", "to", "float", "mul", "div", "truediv", "add", "sub", *MOVES, *VIEWS}
# Operators that are found behind features, and behind scores that can't be negative.
ACTIVATIONS = {"relu", "relu6", "leaky_relu", "prelu", "elu", "gelu", "silu", "softplus"}


class Head(NamedTuple):
    """The last map of features, and the step that makes scores or an image of it."""

    features: Value
    node: Node


def head(graph: Graph, maps: Maps) -> Head | None:
    """The Head of a network whose one map among its outputs is no map of features; None of any other.

    Features come out of a norm, an activation or the sum of a block; what a layer gives as it is, or just bounded
    and resized, are scores or an image.
    """
    ends = [value for value in dict.fromkeys(graph.outputs) if _is_spatial(maps[value])]
    # Tokens are projected for another network to read (a merger of patches): those are features.
    if len(ends) != 1 or len(ends[0].shape) != len(maps.image.shape):
        return None
    return _Walk(graph, maps, ends[0]).back()


def _is_spatial(found: FeatureMap | None) -> bool:
    return found is not None and found.pixels > 1


class _Walk:
    """The way back from the output to the last layer with a kernel that changes the number of channels.

    in_doubt: it passed what is found behind features as well as in heads; only few channels tell then.
    is_normed: it passed a norm before any layer; then it is a head only if that layer takes each pixel for itself.
    """

    def __init__(self, graph: Graph, maps: Maps, end: Value) -> None:
        self.maps = maps
        self.end = end
        self.channels = maps.known(end).channels
        self.makers = graph.inner_makers
        self.in_doubt = self.is_normed = False

    def back(self) -> Head | None:
        """The Head at the end of the way; None where the way is one of features."""
        value, layers = self.end, 0
        while (node := self.makers.get(value)) is not None:
            before = self._before(node, layers)
            if before is None:
                return None
            if node.cost.kernels:
                if self.is_normed and not takes_one_pixel(node):
                    return None
                if self.maps.known(before).channels != self.channels:
                    return None if self._is_doubtful(before) else self._found(before, node)
                if self.is_normed:
                    return None
                layers += 1
                self.in_doubt = True
            value = before
        return None

    def _is_doubtful(self, features: Value) -> bool:
        """Whether scores are not told from features by being fewer than any before; the image's own channels aside."""
        if not self.in_doubt:
            return False
        early = sorted((value for value in self.makers if value.order <= features.order), key=lambda value: value.order)
        made = [found.channels for value in early if (found := self.maps[value]) and found.pixels > 1]
        learned = dropwhile(lambda channels: channels == self.maps.known(self.maps.image).channels, made)
        return any(channels <= self.channels for channels in learned)

    def _found(self, value: Value, node: Node) -> Head | None:
        """The Head whose first layer is `node`; what is padded for it are the features before that."""
        while (maker := self.makers.get(value)) is not None and maker.op == "pad":
            value, node = maker.inputs[0], maker
        # A layer on its own is called by its name, not by its operator's.
        while node.graph.caller is not None and len(node.graph.nodes) == 1:
            node = node.graph.caller
        return Head(value, node) if value in self.makers else None

    def _before(self, node: Node, layers: int) -> Value | None:
        """What the scores that `node` returns are made of; None if it returns features."""
        incoming = [value for value in node.inputs if not value.fixed]
        if len(incoming) == 2 and node.op in ("add", "sub"):
            return self._learned(node, incoming)
        if len(incoming) != 1 or not _is_spatial(self.maps[incoming[0]]):
            return None
        if not self._is_of_a_head(node, layers) or self._is_smaller(incoming[0], node):
            return None
        return incoming[0]

    def _learned(self, node: Node, incoming: list[Value]) -> Value:
        """The operand that more was learned for: added to the image, it is a whole one; to anything else, in doubt."""
        ways = Ways.of(node.graph)
        rest, last = sorted(incoming, key=lambda value: (ways.cost(value), value.order))
        is_image = ways.cost(rest) == NOTHING and self.maps.image in ways.behind(rest) | {rest}
        self.in_doubt |= not is_image
        return last

    def _is_of_a_head(self, node: Node, layers: int) -> bool:
        if node.cost.kernels or node.op in BOUNDS | SIZES | KEEPS:
            return True
        if node.op in ACTIVATIONS:
            self.in_doubt = True
            return True
        if "norm" not in node.op:
            return False
        # Between two layers of a head, or behind its only one.
        self.is_normed |= not layers
        self.in_doubt |= not layers
        return True

    def _is_smaller(self, before: Value, node: Node) -> bool:
        """A layer with a stride begins a stage."""
        size, smaller = self.maps.known(before).size, self.maps[node.outputs[0]]
        return smaller is not None and smaller.size[-1] * 3 <= size[-1] * 2 and not takes_each_pixel(node)
