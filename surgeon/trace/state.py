"""The state that a model is in while it runs, and afterwards again: one mode, nothing left behind.

Networks keep more than weights: caches of position tables, counters, lists of anchors. What one run
leaves there must not be there in the next.
"""

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

Container = dict[Any, Any] | list[Any] | set[Any]


@contextmanager
def in_mode(model: nn.Module, training: bool) -> Iterator[None]:
    """Inside, all modules are in one mode; afterwards each has its own flag back.

    The flags are written one by one, since `train()` and `eval()` may be overridden and, being
    recursive, forget that part of a network was frozen.
    """
    flags = [(module, module.training) for module in model.modules()]
    try:
        for module, _ in flags:
            module.training = training
        yield
    finally:
        for module, flag in flags:
            module.training = flag


# What a forward may fill without ever assigning the attribute itself.
_CONTAINERS = (dict, list, set)


@contextmanager
def preserved(model: nn.Module) -> Iterator[None]:
    """Inside, `model` may run; afterwards its modules hold what they held."""
    before = [(vars(module), dict(vars(module)), _contents(module)) for module in model.modules()]
    try:
        yield
    finally:
        for attributes, old, contents in before:
            attributes.clear()
            attributes.update(old)
            for container, held in contents:
                _refill(container, held)


def _contents(module: nn.Module) -> list[tuple[Container, Any]]:
    """(container, copy of what it holds) for the dicts, lists and sets of one module, its dict of children too."""
    # Most are empty (a dozen of hooks in every module), and copying an ordered dict takes its time.
    return [(held, held.copy() if held else ()) for held in vars(module).values() if isinstance(held, _CONTAINERS)]


def _refill(container: Container, held: Any) -> None:
    if not container and not held:
        return
    container.clear()
    if isinstance(container, list):
        container.extend(held)
    else:
        container.update(held)


@contextmanager
def same_numbers() -> Iterator[None]:
    """Inside, random numbers may be drawn; afterwards the same come again, as if none had been.

    Not where other threads run: numbers that these drew meanwhile would come a second time.
    """
    state, numbers = random.getstate(), torch.get_rng_state()
    try:
        yield
    finally:
        if threading.active_count() == 1:
            random.setstate(state)
            torch.set_rng_state(numbers)
