"""How many channels of the image a network's first convolutions take, where it is not what their library builds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from surgeon.errors import BadOption

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
# What the weights of channels that are added start from.
INITS = ("zeros", "mean")
# More than that no image has; a file may ask for any number.
MOST = 1 << 16


def widened(weight: Tensor, channels: int, init: str = "zeros") -> Tensor:
    """The weight of a convolution (outputs x inputs x kernel) for `channels` inputs, the old ones first, bit for bit.

    >>> widened(torch.ones(8, 3, 7, 7), 6).shape
    torch.Size([8, 6, 7, 7])
    """
    old = weight.detach()
    one = old.mean(1, keepdim=True) if init == "mean" else torch.zeros_like(old[:, :1])
    added = one.expand(-1, channels - old.shape[1], *old.shape[2:])
    return torch.cat([old, added], 1).contiguous(memory_format=_format(old))


def _format(weight: Tensor) -> torch.memory_format:
    """Channels last where a kernel is stored so and in no other order as well."""
    is_usual = weight.is_contiguous() or weight.dim() != 4
    is_last = not is_usual and weight.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if is_last else torch.contiguous_format


def take(convolution: Any, weight: Tensor) -> None:
    """Give a convolution another weight, and as many input channels as that has."""
    convolution.weight = nn.Parameter(weight, requires_grad=convolution.weight.requires_grad)
    convolution.in_channels = weight.shape[1]


def with_channels(model: nn.Module, wanted: Mapping[str, int]) -> nn.Module:
    """`model`, the convolutions at these paths changed in place to take so many channels; returns it.

    Raises:
        BadOption: there is no such convolution, or it can't take so many.
    """
    modules = dict(model.named_modules())
    for path, channels in wanted.items():
        module = modules.get(path)
        if not isinstance(module, CONVOLUTIONS) or module.groups != 1:
            raise BadOption(f"there is no convolution {path!r} that could take {channels} channels.")
        if type(channels) is not int or not 0 < channels <= MOST:
            raise BadOption(f"{path!r} can't take {channels!r} channels.")
        old = module.weight.detach()
        take(module, widened(old, channels) if channels > old.shape[1] else old[:, :channels].clone())
    return model


def found_in(stock: nn.Module, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, int]:
    """{path: channels} of the first convolutions of `stock` that take another number of channels in `shapes`.

    Those that take as many as the very first one; empty where they do not all take the same number.
    """
    modules = {path: module for path, module in stock.named_modules() if isinstance(module, CONVOLUTIONS)}
    first = next(iter(modules.values()), None)
    found = {}
    for path, module in modules.items():
        own, other = tuple(module.weight.shape), tuple(shapes.get(f"{path}.weight", ()))
        if len(own) == len(other) and own != other and (own[0], *own[2:]) == (other[0], *other[2:]):
            found[path] = other[1]
            if module.groups != 1 or first is None or module.in_channels != first.in_channels:
                return {}
    return found if len(set(found.values())) == 1 else {}
