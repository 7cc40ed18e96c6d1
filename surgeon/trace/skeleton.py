"""A skeleton: a copy of a model to run in its place, with its structure, classes and settings, without its weights.

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
from surgeon.outside.torch import COMPILED, plain_call
from surgeon.trace.twins import Twins


class Listener(Protocol):
    """Who is told of the calls of a skeleton's modules, and decides what becomes of them."""

    def called(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """What the call of `module` returns."""


@dataclass(eq=False)
class Shared:
    """What all modules of one skeleton share: who is told of their calls.

    twins: all of the skeleton's parts, kept alive for those who hold one by weak references only.
    """

    twins: Twins
    listener: Listener | None = None


@dataclass(eq=False)
class Call:
    """What `nn.Module.__call__` finds on a module of a skeleton in place of its own way to be called."""

    module: nn.Module
    shared: Shared

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self.shared.listener is None:
            return plain_call(self.module, args, kwargs)
        return self.shared.listener.called(self.module, args, kwargs)


def skeleton(model: nn.Module, *, numbers: bool = False) -> nn.Module:
    """The skeleton of `model`, in eval mode, made in milliseconds.

    Weights are meta tensors, shared where the model shares them. With `numbers`, for a model that runs on
    real numbers only, weights are the model's own tensors, and buffers are copies.

    Raises:
        BadModel: something in the model can't be copied.
    """
    twins = Twins(numbers)
    try:
        with torch.no_grad():
            copied = twins.of_model(model)
    except Exception as error:  # any class may forbid to make an instance of it
        raise BadModel(f"{type(model).__name__} can't be looked at: {type(error).__name__}: {error}") from error
    twins.let_go()
    shared = Shared(twins)
    for module in twins.modules:
        if not isinstance(module, torch.jit.ScriptModule):
            vars(module)["training"] = False
        vars(module)[COMPILED] = Call(module, shared)
    return copied


@contextmanager
def listening(module: nn.Module, listener: Listener | None) -> Iterator[None]:
    """Inside, `listener` is told of every call of a module in the skeleton that `module` is a part of."""
    shared: Shared = vars(module)[COMPILED].shared
    before, shared.listener = shared.listener, listener
    try:
        yield
    finally:
        shared.listener = before
