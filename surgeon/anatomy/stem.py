"""Which convolutions read the image before anything else is learned of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from torch import nn

from surgeon.attention import Gate
from surgeon.errors import BadModel

if TYPE_CHECKING:
    from surgeon.anatomy.scene import Scene
    from surgeon.trace.graph import Graph, Node


def first_convolutions(scene: Scene) -> list[Graph]:
    """The calls of all convolutions that read the image, or what is made of it before anything is learned.

    Raises:
        BadModel: something else reads it, or they could not take more channels of it.
    """
    graph, maps = scene.graph, scene.maps
    if len(maps.images) > 1:
        raise BadModel(f"it is given {len(maps.images)} images, and which of them has more channels can't be told.")
    if maps.image not in graph.inputs:
        raise BadModel("it lays out the image itself, of something that has no channels.")
    image, found = {maps.image}, []
    for node in _innermost(graph):
        if image.isdisjoint(node.inputs):
            continue
        if node.child is not None and isinstance(node.child.module, Gate):
            advice = "take it out (surgeon.remove), widen the input, and put attention in again"
            raise BadModel(f"{node.child.path!r} is attention on it, made for its channels as they are: {advice}.")
        if node.cost.weights or any(value not in image and not value.fixed for value in node.inputs):
            found.append(_convolution(node, maps.image.shape[1]))
        else:
            image.update(node.outputs)
    if not found:
        raise BadModel("nothing is learned of the image that it is given.")
    return list({call.module: call for call in found}.values())


def _innermost(graph: Graph) -> Iterator[Node]:
    """All steps that no others are inside of, in order of execution; attention is one, as it was recorded."""
    for node in graph.nodes:
        if node.child is not None and node.holds_steps:
            yield from _innermost(node.child)
        else:
            yield node


def _convolution(node: Node, channels: int) -> Graph:
    """The call of the convolution that a step is the whole of.

    Raises:
        BadModel: it is something else, or takes other channels than the image's.
    """
    call, module = node.graph, node.graph.module
    where = repr(call.path) if call.path else "its own forward"
    if not isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Conv3d)) or not node.op.startswith("conv"):
        raise BadModel(f"the image is read by {node.op!r} in {where} ({type(module).__name__}), and no convolution.")
    if module.groups != 1:
        raise BadModel(f"{where} convolves the image in {module.groups} groups, one apart from the other.")
    if module.in_channels != channels:
        made = f"{module.in_channels} channels that are made of the image's {channels}"
        raise BadModel(f"{where} reads {made}, and where new ones belong can't be told.")
    return call
