"""State dicts of networks in which one tensor has several names, and loading into them."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from surgeon.outside.torch import parameter_table


def shapes_of(model: nn.Module) -> dict[str, tuple[int, ...]]:
    """Key -> shape of `model`'s state dict, in its order."""
    return {key: tuple(value.shape) for key, value in model.state_dict().items() if isinstance(value, Tensor)}


def load_weights(model: nn.Module, tensors: Mapping[str, Tensor], *, copy: bool = True) -> nn.Module:
    """Put `tensors` in the place of all of `model`'s weights; keys and shapes have been checked.

    Without a copy they stay where they are, as a rule in a file that is mapped into memory: enough to write them
    elsewhere. For computing they are better copied: tensors in a file lie at unaligned addresses, where torch
    takes other kernels, whose last bits differ.

    Tied weights stay tied, `requires_grad` stays as it was, and where all weights have one floating type
    the tables that no state dict holds take it as well.
    """
    tied = _tied(model)
    flags = {name: parameter.requires_grad for name, parameter in model.named_parameters(remove_duplicate=False)}
    weights = {key: value.clone() for key, value in tensors.items()} if copy else tensors
    model.load_state_dict(_versioned(model, weights), strict=True, assign=True)
    for names in tied:
        # Somebody may have parted what the library ties.
        _tie(model, [name for name in names if torch.equal(tensors[name], tensors[names[0]])])
    for name, parameter in model.named_parameters(remove_duplicate=False):
        parameter.requires_grad_(flags[name] and parameter.is_floating_point())
    dtypes = {value.dtype for value in tensors.values() if value.is_floating_point()}
    return model.to(dtypes.pop()) if len(dtypes) == 1 else model


def _versioned(model: nn.Module, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """`tensors` as a state dict that notes the versions of the modules: some refuse weights without a version."""
    versioned = model.state_dict()
    versioned.clear()
    versioned.update(tensors)
    return versioned


def _tied(model: nn.Module) -> list[list[str]]:
    """Names of the parameters that are one object, group by group."""
    groups: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        groups.setdefault(id(parameter), []).append(name)
    return [names for names in groups.values() if len(names) > 1]


def _tie(model: nn.Module, names: list[str]) -> None:
    first = model.get_parameter(names[0])
    for name in names[1:]:
        path, _, leaf = name.rpartition(".")
        parameter_table(model.get_submodule(path))[leaf] = first
