"""The state that a model is in while it is looked at, and afterwards again: weights without numbers, one mode, nothing left behind.

Networks keep more than weights: caches of position tables, counters, lists of anchors. A run on meta
tensors would leave these without numbers.
"""

import random
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def on_meta(model):
    """Inside, every weight and buffer of `model` is a meta tensor; afterwards the very same objects are back.

    No copy is made and no memory is used, so a model of any size, on any device, can be run.
    """
    twins, undo = {}, []
    try:
        for module in model.modules():
            for store in (module._parameters, module._buffers):
                for name, tensor in store.items():
                    if tensor is not None:
                        undo.append((store, name, tensor))
                        store[name] = twins.setdefault(id(tensor), _twin(tensor))
        yield
    finally:
        for store, name, tensor in undo:
            store[name] = tensor


def _twin(tensor):
    twin = torch.empty_like(tensor, device="meta", requires_grad=False)
    return nn.Parameter(twin, requires_grad=False) if isinstance(tensor, nn.Parameter) else twin


@contextmanager
def in_mode(model, training):
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
def still(model):
    """Inside, `model` may run; afterwards its modules hold what they held, and no random number is used up."""
    before = [(vars(module), dict(vars(module)), _contents(module)) for module in model.modules()]
    state, numbers = random.getstate(), torch.get_rng_state()
    try:
        yield
    finally:
        random.setstate(state)
        torch.set_rng_state(numbers)
        for attributes, old, contents in before:
            attributes.clear()
            attributes.update(old)
            for container, held in contents:
                _refill(container, held)


def _contents(module):
    """(container, copy of what it holds) for the dicts, lists and sets of one module, its children's among them."""
    # Most are empty (a dozen of hooks in every module), and copying an ordered dict takes its time.
    return [(held, held.copy() if held else ()) for held in vars(module).values() if isinstance(held, _CONTAINERS)]


def _refill(container, held):
    if not container and not held:
        return
    container.clear()
    container.extend(held) if isinstance(container, list) else container.update(held)


@contextmanager
def spare_buffers(model):
    """Inside, every buffer is a copy: a run with real numbers in train mode moves the statistics of norms."""
    copies, undo = {}, []
    try:
        for module in model.modules():
            for name, tensor in module._buffers.items():
                if tensor is not None:
                    undo.append((module._buffers, name, tensor))
                    module._buffers[name] = copies.setdefault(id(tensor), tensor.clone())
        yield
    finally:
        for store, name, tensor in undo:
            store[name] = tensor
