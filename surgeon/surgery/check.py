"""What an operation must leave as it was, noted before and compared after."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from surgeon.errors import CheckFailed
from surgeon.outside.torch import HOOKS, version

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn


class Properties(NamedTuple):
    """What must not change about a tensor; a write to it changes its version."""

    dtype: torch.dtype
    device: torch.device
    shape: torch.Size
    stride: tuple[int, ...]
    requires_grad: bool
    version: int


class ModuleState(NamedTuple):
    """A module, its mode, and its hooks by kind."""

    module: nn.Module
    training: bool
    hooks: tuple[tuple[object, ...], ...]


@dataclass(frozen=True)
class Snapshot:
    """All tensors by key, all modules by path, with everything about them that must not change."""

    tensors: dict[str, tuple[Tensor, Properties]]
    modules: dict[str, ModuleState]


def snapshot(model: nn.Module) -> Snapshot:
    """The state of `model` before an operation; holds references, copies nothing."""
    tensors = {key: (tensor, _properties(tensor)) for key, tensor in _tensors(model)}
    modules = {path: _state(module) for path, module in model.named_modules(remove_duplicate=False)}
    return Snapshot(tensors, modules)


def _tensors(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from model.named_parameters(remove_duplicate=False)
    yield from model.named_buffers(remove_duplicate=False)


def _properties(tensor: Tensor) -> Properties:
    return Properties(tensor.dtype, tensor.device, tensor.shape, tensor.stride(), tensor.requires_grad, version(tensor))


def _state(module: nn.Module) -> ModuleState:
    hooks = tuple(tuple(getattr(module, name).values()) for name in HOOKS)
    return ModuleState(module, module.training, hooks)


def same_as_before(model: nn.Module, before: Snapshot) -> None:
    """Every old key is there, in order, with the same tensor object; so is every module, mode and hook.

    Raises:
        CheckFailed: with the first difference.
    """
    now = dict(_tensors(model))
    kept = [key for key in now if key in before.tensors]
    if kept != list(before.tensors):
        missing = next((key for key in before.tensors if key not in now), None)
        raise CheckFailed(
            f"weight {missing!r} is gone." if missing else "the weights are in another order than before."
        )
    for key, (tensor, properties) in before.tensors.items():
        if now[key] is not tensor or _properties(tensor) != properties:
            raise CheckFailed(f"weight {key!r} is not the tensor that it was.")
    modules = dict(model.named_modules(remove_duplicate=False))
    for path, state in before.modules.items():
        if modules.get(path) is not state.module or _state(state.module) != state:
            raise CheckFailed(f"module {path!r} is not the one that it was, or not in its mode, or lost a hook.")
