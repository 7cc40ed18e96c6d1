"""The state that a model is in while it is looked at: weights without numbers, all of it in one mode."""

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
