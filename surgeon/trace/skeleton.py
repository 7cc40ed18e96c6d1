"""A skeleton: a model's twin to look at in its place, with the same structure, classes and settings, and without its weights.

What is done to a skeleton is done to nobody else: it runs, keeps caches, changes its mode and may be
rewritten while the model itself answers in other threads. Calls of its modules can be listened to; the
instances are asked for that, and no class is touched, since a class belongs to every model of the process.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import nn

from surgeon.errors import BadModel
from surgeon.trace.twins import Twins


class Listener(Protocol):
    """Who hears of the calls of a skeleton's modules, and decides what becomes of them."""

    def called(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """What the call of `module` returns."""


@dataclass(eq=False)
class Ears:
    """Shared by all modules of one skeleton. twins: what it was made of, kept for those who hold it by weak references only."""

    twins: Twins
    listener: Listener | None = None


@dataclass(eq=False)
class Call:
    """What `nn.Module.__call__` finds on a module of a skeleton in place of its own way to be called."""

    module: nn.Module
    ears: Ears

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self.ears.listener is None:
            return self.module._call_impl(*args, **kwargs)
        return self.ears.listener.called(self.module, args, kwargs)


# Where nn.Module looks, on the instance, before it goes its own way; `nn.Module.compile` sets the same.
_SLOT = "_compiled_call_impl"


def skeleton(model: nn.Module, *, numbers: bool = False) -> nn.Module:
    """A twin of `model` in eval mode, made in milliseconds.

    Weights are meta tensors, shared where the model shares them. With `numbers`, for a model that runs on
    real numbers only, weights are the model's own tensors, and buffers are copies.

    Raises:
        BadModel: something in the model can't have a twin.
    """
    try:
        with torch.no_grad():
            twins = Twins(numbers)
            ears = Ears(twins)
            made = twins.of_model(model)
    except Exception as stop:  # any class may forbid to make an instance of it
        raise BadModel(f"{type(model).__name__} can't be looked at: {type(stop).__name__}: {stop}") from stop
    for twin in twins.modules:
        if not isinstance(twin, torch.jit.ScriptModule):
            vars(twin)["training"] = False
        vars(twin)[_SLOT] = Call(twin, ears)
    return made


@contextmanager
def listening(module: nn.Module, listener: Listener | None) -> Iterator[None]:
    """Inside, `listener` hears of every call of a module in the skeleton that `module` is a part of."""
    ears = vars(module)[_SLOT].ears
    before, ears.listener = ears.listener, listener
    try:
        yield
    finally:
        ears.listener = before
