"""How far a layer moves on from one pixel of its result to the next."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from surgeon.trace.graph import Node


def takes_each_pixel(node: Node) -> bool:
    """Whether a step is one convolution, or is a module of one, that moves on by a pixel at a time."""
    while node.child and len(node.child.nodes) == 1:
        node = node.child.nodes[0]
    if not node.op.startswith("conv") or "transpose" in node.op:
        return False
    # Behind the bias, which may be None, the strides.
    numbers = [number for number in node.constants if type(number) is int]
    return all(stride == 1 for stride in numbers[: len(node.outputs[0].shape) - 2])
