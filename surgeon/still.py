"""Holding a model still while it is run for a look: whatever a forward leaves behind is taken back.

Networks keep more than weights: caches of position tables, counters, lists of anchors. A run on meta
tensors would leave these without numbers.
"""

import random
from contextlib import contextmanager

import torch

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
