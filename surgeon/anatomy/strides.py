"""How far a layer moves on from one pixel of its result to the next."""

from __future__ import annotations

from itertools import takewhile
from numbers import Integral
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from surgeon.trace.graph import Node


def takes_each_pixel(node: Node) -> bool:
    """Whether a step is one convolution, or is a module of one, that moves on by a pixel at a time."""
    node = _innermost(node)
    if not node.op.startswith("conv") or "transpose" in node.op:
        return False
    # Behind the bias, which may be None, the strides.
    numbers = [number for number in node.constants if type(number) is int]
    return all(stride == 1 for stride in numbers[: len(node.outputs[0].shape) - 2])


def takes_one_pixel(node: Node) -> bool:
    """Whether a step is a convolution that makes each pixel of its result of one pixel alone."""
    value = node.inputs[0]
    if not node.op.startswith("conv") or len(node.inputs) < 2:
        return False
    kernel = node.inputs[1].shape[2:]
    return all(side == 1 for side in kernel) and len(kernel) == len(value.shape) - 2


def pools_by_pixel(node: Node) -> bool:
    """Whether a step pools, or is a module that does nothing else, and moves on by a pixel at a time.

    Heads of clips do so: a window of the whole map, where the network is given the clip that it was made for.
    """
    node = _innermost(node)
    if "pool" not in node.op or len(node.inputs) != 1 or not node.outputs:
        return False
    before, after = node.inputs[0].shape[2:], node.outputs[0].shape[2:]
    numbers = [int(number) for number in takewhile(_is_whole, node.constants)]
    dims = len(after)
    # The window and the stride, each of them one number or one for each axis.
    windows = [(numbers[:1] * dims, numbers[1:2]), (numbers[:dims], numbers[dims : dims + 1])]
    return any(
        stride == [1] and [*after] == [side - width + 1 for side, width in zip(before, window, strict=True)]
        for window, stride in windows
    )


def _innermost(node: Node) -> Node:
    while node.child and len(node.child.nodes) == 1:
        node = node.child.nodes[0]
    return node


def _is_whole(constant: object) -> bool:
    """Whether a constant is a whole number, NumPy's among them."""
    return isinstance(constant, Integral) and not isinstance(constant, bool)
