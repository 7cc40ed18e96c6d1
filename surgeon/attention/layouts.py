"""The order of a feature map's axes, and the way from it to channels first and back.

Attention is written once, for maps of (N, C, *spatial). Networks also hold channels-last maps (Swin,
ConvNeXt's inside) and tokens (ViT); a Layout turns these into such a map, as a view, and the result back.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor

from surgeon.attention.passes.capture import is_captured
from surgeon.errors import SurgeonError, UnknownName, suggest

# Which axis counts the tokens.
TOKENS = {"NLC": 1, "NCL": 2, "NGLC": 2, "NCGL": 3}
NAMES = ("NCL", "NCHW", "NCDHW", "NHWC", "NDHWC", "NLC", "NGLC", "NCGL")


Size = tuple[int, ...]


@dataclass(frozen=True)
class Layout:
    """How one value of a network is laid out in memory.

    name: the order of its axes; NLC are tokens of a grid, NCL the same channels first, NGLC and NCGL windows of tokens.
    size: the map's spatial size when it was planned, such as (56, 56) or (8, 14, 14).
    prefix: tokens in front of the grid that belong to no pixel (class, register, distillation).

    >>> Layout("NLC", (2, 3), prefix=1).view(torch.zeros(5, 7, 8)).shape
    torch.Size([5, 8, 2, 3])
    """

    name: str
    size: tuple[int, ...]
    prefix: int = 0

    def __post_init__(self) -> None:
        if self.name not in NAMES:
            raise UnknownName(f"unknown layout {self.name!r}. {suggest(self.name, NAMES)}")

    @property
    def dims(self) -> int:
        """Number of spatial axes: 1 (sequences), 2 (images) or 3 (video)."""
        return len(self.size) if "L" in self.name else len(self.name) - 2

    def view(self, x: Tensor, size: Size | None = None, *, alike: bool = False) -> Tensor:
        """`x` as a map of (N, C, *spatial) that shares its memory.

        Args:
            size: the map's spatial size in this run, for tokens; None where nobody knows it.
            alike: whether all positions count alike, so that any size will do.
        """
        if self.name == "NGLC":
            return x.flatten(0, 1).transpose(1, 2).unflatten(2, self._grid(x.shape[2], size, alike))
        if self.name == "NCGL":
            grid = self._grid(x.shape[3], size, alike)
            return _with_contiguous_gradient(x).transpose(1, 2).flatten(0, 1).unflatten(2, grid)
        if self.name == "NLC":
            tokens = x[:, self.prefix :]
            return tokens.transpose(1, 2).unflatten(2, self._grid(tokens.shape[1], size, alike))
        if self.name == "NCL":
            return x.unflatten(2, self._grid(x.shape[2], size, alike)) if self.dims > 1 else x
        return x.movedim(-1, 1) if self.name.endswith("C") else x

    def length(self, x: Tensor) -> int:
        """How many tokens of `x` are pixels of the map."""
        return x.shape[TOKENS[self.name]] - self.prefix

    def restore(self, y: Tensor, x: Tensor) -> Tensor:
        """The map `y` laid out as `x` is, behind the prefix tokens of `x`, if there are any."""
        if self.name == "NGLC":
            y = y.flatten(2).transpose(1, 2).unflatten(0, x.shape[:2])
        elif self.name == "NCGL":
            y = y.flatten(2).unflatten(0, (x.shape[0], x.shape[2])).transpose(1, 2)
        elif self.name == "NLC":
            y = y.flatten(2).transpose(1, 2)
            if self.prefix:
                return torch.cat([x[:, : self.prefix], y], dim=1)
        elif self.name.endswith("C"):
            y = y.movedim(1, -1)
        else:
            return y.flatten(2) if self.name == "NCL" else y
        # A module that returned its map channels first would break a later `.view` of the network's.
        return y.contiguous() if x.is_contiguous() else y

    def _grid(self, length: int, size: Size | None, alike: bool) -> Size:
        """The spatial size of `length` tokens: as this run tells, as planned, or the same shape at another scale."""
        if size is not None:
            if not is_captured() and prod(size) != length:
                raise SurgeonError(f"{length} tokens are no map of {' x '.join(map(str, size))}, as this run has it.")
            return size
        if length == prod(self.size):
            return self.size
        scale = (length / prod(self.size)) ** (1 / self.dims)
        grid = tuple(round(n * scale) for n in self.size)
        if prod(grid) == length and all(n * self.size[0] == m * grid[0] for n, m in zip(grid, self.size)):
            return grid
        if alike:
            return (length, *(1 for _ in self.size[1:]))
        raise SurgeonError(
            f"{length} tokens make no map of the shape planned, {' x '.join(map(str, self.size))}:"
            " give the network an image of the same proportions, or plan with example_inputs of this size."
        )


def _with_contiguous_gradient(x: Tensor) -> Tensor:
    """`x`, which is copied next; its gradient comes back in its own memory order, in which the layers before it sum."""
    learns = x.requires_grad and torch.is_grad_enabled() and x.is_contiguous()
    return _Contiguous.apply(x) if learns and not is_captured() else x


class _Contiguous(torch.autograd.Function):
    """`x` itself, with a contiguous gradient."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad.contiguous()

    @staticmethod
    def jvp(ctx: Any, along: Tensor) -> Tensor:
        return along.view_as(along)
