"""The shapes that operators return on meta, by the shortest way; torch computes some of them at length."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

# Their results have their input's shape, which torch takes long to find out on meta.
_NORMS = {nn.functional.batch_norm, nn.functional.layer_norm, nn.functional.group_norm}
_ACTIVATION_NAMES = ("relu", "relu6", "gelu", "hardswish", "hardsigmoid", "hardtanh")
_ACTIVATIONS = {getattr(nn.functional, name) for name in _ACTIVATION_NAMES}
_SUMS = {torch.add, torch.mul, torch.Tensor.add, torch.Tensor.mul}
_SUMS_IN_PLACE = {torch.Tensor.add_, torch.Tensor.mul_, torch.Tensor.__iadd__, torch.Tensor.__imul__}
_ATTENTION_SETTINGS = {"dropout_p", "attn_mask", "is_causal"}


class Shapes(TorchFunctionMode):
    """Inside, what runs on meta tensors runs by the shortest way."""

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return result_of(function, args, kwargs or {})


def result_of(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What an operator returns."""
    if not args or not isinstance(args[0], torch.Tensor) or not args[0].is_meta:
        return function(*args, **kwargs)
    if function is torch.lstm and len(args) == 9:
        return _lstm(*args)
    if function is nn.functional.linear and len(args) > 1 and _multiplies(*args[:2]):
        return args[0].new_empty(*args[0].shape[:-1], args[1].shape[0])
    if function is nn.functional.scaled_dot_product_attention and len(args) == 3:
        if kwargs.keys() <= _ATTENTION_SETTINGS and kwargs.get("attn_mask") is None and _attends(*args):
            return args[0].new_empty(*args[0].shape[:-1], args[2].shape[-1])
    in_place = function in _SUMS_IN_PLACE or function in _ACTIVATIONS and (kwargs.get("inplace") or args[-1] is True)
    if function in _NORMS or function in _ACTIVATIONS:
        return _written(args[0]) if in_place else _like(args[0])
    if (in_place or function in _SUMS) and not kwargs and len(args) == 2:
        whole = _whole(*args)
        if whole is not None and (whole is args[0] or not in_place):
            return _written(whole) if in_place else _like(whole)
    return function(*args, **kwargs)


def _like(tensor: torch.Tensor) -> torch.Tensor:
    """As `torch.empty_like`, which torch works out in Python for tensors on meta."""
    if not tensor.is_contiguous():
        return torch.empty_like(tensor)
    return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device=tensor.device)


def _written(tensor: torch.Tensor) -> torch.Tensor:
    torch.autograd.graph.increment_version(tensor)
    return tensor


def _multiplies(x: torch.Tensor, weight: torch.Tensor) -> bool:
    return weight.dim() == 2 and x.dim() > 0 and x.dtype == weight.dtype and x.shape[-1] == weight.shape[1]


def _attends(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> bool:
    same_size = query.shape[:-2] == key.shape[:-2] == value.shape[:-2] and key.shape[-2] == value.shape[-2]
    return same_size and query.shape[-1] == key.shape[-1] and query.dtype == key.dtype == value.dtype


def _whole(x: torch.Tensor, other: object) -> torch.Tensor | None:
    """Which of two tensors has the shape, type and order of their sum; None in any doubt."""
    if not isinstance(other, torch.Tensor) or other.dtype != x.dtype or not other.is_meta:
        return None
    if other.shape == x.shape:
        return x if other.stride() == x.stride() else None
    whole, part = (x, other) if x.dim() >= other.dim() and x.numel() >= other.numel() else (other, x)
    sizes = zip(reversed(whole.shape), reversed(part.shape))
    spreads = whole.dim() >= part.dim() and all(b in (1, a) for a, b in sizes)
    return whole if spreads and whole.is_contiguous() else None


def _lstm(
    x: torch.Tensor,
    states: tuple[torch.Tensor, torch.Tensor],
    weights: object,
    bias: bool,
    layers: int,
    dropout: float,
    training: bool,
    bidirectional: bool,
    batch_first: bool,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The shapes that torch.lstm returns; on meta it would compute them step by step along the sequence."""
    state, cell = states
    sequence = x.new_empty(*x.shape[:-1], state.shape[-1] * (2 if bidirectional else 1))
    return sequence, torch.empty_like(state), torch.empty_like(cell)
