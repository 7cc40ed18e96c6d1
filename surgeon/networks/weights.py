"""State dicts of networks in which one tensor has several names, and loading into them."""

from collections import OrderedDict

import torch


def shapes_of(model):
    """Key -> shape of `model`'s state dict, in its order."""
    return {key: tuple(value.shape) for key, value in model.state_dict().items() if isinstance(value, torch.Tensor)}


def load_weights(model, tensors, *, copy=True):
    """Put `tensors` in the place of all of `model`'s weights; keys and shapes have been checked.

    Without a copy they stay where they are, as a rule in a file that is mapped into memory: enough to write them
    elsewhere. For computing they are better copied: a file's tensors lie at odd addresses, where torch
    takes other paths, whose last bits differ.

    Tied weights stay tied, `requires_grad` stays as it was, and where all weights have one floating type
    the tables that no state dict holds take it as well.
    """
    groups, flags = _tied(model), {name: p.requires_grad for name, p in model.named_parameters(remove_duplicate=False)}
    model.load_state_dict(_versioned(model, {key: value.clone() for key, value in tensors.items()} if copy else tensors), strict=True, assign=True)
    for names in groups:
        # Somebody may have parted what the library ties.
        _tie(model, [name for name in names if torch.equal(tensors[name], tensors[names[0]])])
    for name, parameter in model.named_parameters(remove_duplicate=False):
        parameter.requires_grad_(flags[name] and parameter.is_floating_point())
    kinds = {value.dtype for value in tensors.values() if value.is_floating_point()}
    return model.to(kinds.pop()) if len(kinds) == 1 else model


def _versioned(model, tensors):
    """`tensors` with the versions of the modules that they are for: some modules refuse weights that tell none."""
    found = OrderedDict(tensors)
    found._metadata = model.state_dict()._metadata
    return found


def _tied(model):
    """Names of the parameters that are one object, group by group."""
    groups = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        groups.setdefault(id(parameter), []).append(name)
    return [names for names in groups.values() if len(names) > 1]


def _tie(model, names):
    first = model.get_parameter(names[0])
    for name in names[1:]:
        path, _, leaf = name.rpartition(".")
        model.get_submodule(path)._parameters[leaf] = first
