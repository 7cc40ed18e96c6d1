"""Optimizer states name parameters by number: after an operation the numbers are others.

The numbers are those of a script that makes its optimizer again from `model.parameters()`, or from
groups with and without weight decay as timm and torchvision split them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import count
from typing import Any, TypeGuard

from torch import Tensor, nn

from surgeon.errors import BadFile
from surgeon.outside.torch import BatchNorm, InstanceNorm

NORMS = (BatchNorm, nn.LayerNorm, nn.GroupNorm, InstanceNorm)

# As `optimizer.state_dict()` returns it: `state` (number -> its momenta), `param_groups`, and what else there is.
State = dict[str, Any]
# For each group of an optimizer the names of the model's parameters that belong to it, whether it has them yet or not.
Split = list[set[str]]


def is_state(value: object) -> TypeGuard[State]:
    """Whether `value` is what an optimizer's `state_dict` returns."""
    if not isinstance(value, dict):
        return False
    return isinstance(value.get("state"), dict) and isinstance(value.get("param_groups"), list)


def extend(state: State, model: nn.Module, new: Collection[str]) -> State:
    """The optimizer's state for `model` with its new parameters: old momenta under new numbers, none for the new.

    Args:
        state: from `optimizer.state_dict()` for the parameters that are not new.
        new: names of the parameters that came with the attention.

    Raises:
        BadFile: the groups are split in a way that can't be told from the file.
    """
    every = [name for name, _ in model.named_parameters()]
    return _renumber(state, model, before=[name for name in every if name not in new], after=every)


def shrink(state: State, model: nn.Module, new: Collection[str]) -> State:
    """The inverse of `extend`: the state as it was before the parameters named `new` came."""
    every = [name for name, _ in model.named_parameters()]
    return _renumber(state, model, before=every, after=[name for name in every if name not in new])


def _renumber(state: State, model: nn.Module, *, before: list[str], after: list[str]) -> State:
    """The state for the parameters `after`, made of that for the parameters `before`; both in the model's order."""
    split = _split(state, model, before)
    old_numbers, new_numbers = _numbers(state, split, before), count()
    groups, momenta = [], dict[int, Any]()
    for group, members in zip(state["param_groups"], split):
        numbers = {name: next(new_numbers) for name in after if name in members}
        for name, number in numbers.items():
            if old_numbers.get(name) in state["state"]:
                momenta[number] = state["state"][old_numbers[name]]
        named = {"param_names": list(numbers)} if "param_names" in group else {}
        groups.append({**group, "params": list(numbers.values()), **named})
    return {**state, "state": momenta, "param_groups": groups}


def _numbers(state: State, split: Split, names: list[str]) -> dict[str, int]:
    """Name -> number in `state` of the parameters `names`, which are all that the state is for."""
    numbers: dict[str, int] = {}
    for group, members in zip(state["param_groups"], split):
        numbers.update(zip([name for name in names if name in members], group["params"]))
    return numbers


def _split(state: State, model: nn.Module, names: list[str]) -> Split:
    """How the optimizer of the parameters `names` was split into groups."""
    sizes = [len(group["params"]) for group in state["param_groups"]]
    for split in _splits(model, len(sizes)):
        found = [sum(name in members for name in names) for members in split]
        if found == sizes and _shapes_fit(state, model, _numbers(state, split, names)):
            return split
    raise BadFile(
        f"the optimizer's {len(sizes)} groups ({', '.join(map(str, sizes))} parameters) are no split of the network's "
        f"{len(names)} that surgeon knows. --drop-optimizer leaves its state out of the new file."
    )


def _splits(model: nn.Module, groups: int) -> Iterator[Split]:
    """Ways in which scripts split a model's parameters into so many groups."""
    every = {name for name, _ in model.named_parameters()}
    if groups == 1:
        yield [every]
    if groups == 2:
        for undecayed in _without_decay(model):
            yield [undecayed, every - undecayed]
            yield [every - undecayed, undecayed]
    if groups == 3:
        # torchvision's references, with a decay for norms and one for biases.
        biases, norms = {name for name in every if name.rpartition(".")[2] == "bias"}, _in_norms(model)
        yield [every - biases - norms, norms - biases, biases]


def _without_decay(model: nn.Module) -> Iterator[set[str]]:
    """Parameters that scripts leave without weight decay: vectors and biases, those of norms, or biases alone."""
    parameters = dict(model.named_parameters())
    yield {name for name, parameter in parameters.items() if parameter.ndim <= 1 or name.endswith(".bias")}
    yield _in_norms(model)
    yield {name for name in parameters if name.endswith("bias")}


def _in_norms(model: nn.Module) -> set[str]:
    """The parameters of normalisation layers."""
    norms = [(path, module) for path, module in model.named_modules() if isinstance(module, NORMS)]
    inside = {f"{path}.{name}" for path, norm in norms for name, _ in norm.named_parameters(recurse=False)}
    return inside & {name for name, _ in model.named_parameters()}


def _shapes_fit(state: State, model: nn.Module, numbers: dict[str, int]) -> bool:
    """Whether each momentum has the shape of the parameter it would belong to."""
    parameters = dict(model.named_parameters())
    for name, number in numbers.items():
        shape = parameters[name].shape
        for value in state["state"].get(number, {}).values():
            if isinstance(value, Tensor) and value.ndim == len(shape) > 0 and value.shape != shape:
                return False
    return True
