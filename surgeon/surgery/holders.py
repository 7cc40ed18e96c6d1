"""Who else holds the weights of a network: reducers and optimizers, which never hear of weights that come later."""

from __future__ import annotations

import gc
import sys
import warnings
import weakref
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from surgeon.attention import attention_parameters
from surgeon.errors import BadModel, UntrainedAttention
from surgeon.outside.torch import parameter_table, takes_step_hooks


def optimizers_of(model: Any) -> list[Optimizer]:
    """The optimizers that hold weights of `model`.

    Raises:
        BadModel: a data parallel or sharding wrapper holds them: it would never reduce the gradients of others.
    """
    if not isinstance(model, nn.Module):
        return []
    if _is_sharded(model):
        raise BadModel("this network is sharded already: operate on it first, and shard it (fully_shard) afterwards.")
    if not _held_elsewhere(model):
        return []
    # What an operation a moment ago left behind still refers to the network.
    gc.collect(1)
    held = _held_elsewhere(model)
    if not held:
        return []
    # One search for both: each goes through all that the garbage collector knows.
    holders = _holders(held, Optimizer, *_reducers())
    if any(reducer is not model for reducer in _reducing(holders)):
        # One that nobody uses any more may wait for the garbage collector.
        holders.clear()
        gc.collect()
        holders = _holders(held, Optimizer, *_reducers())
    for reducer in _reducing(holders):
        # Handed over itself, it is refused as what it is.
        if reducer is model:
            return []
        kind = type(reducer).__name__
        raise BadModel(
            f"a {kind} holds this network, and would not reduce the gradients of attention that comes after it: "
            f"operate first, and wrap it in {kind} afterwards (or delete the {kind}, operate, and wrap again)."
        )
    weights = set(model.parameters())
    optimizers = [holder for holder in holders if issubclass(type(holder), Optimizer)]
    return [optimizer for optimizer in optimizers if not weights.isdisjoint(weights_in(optimizer))]


def weights_in(optimizer: Optimizer) -> set[Any]:
    """All that an optimizer steps."""
    # One that another thread is just making has no groups yet.
    groups: list[dict[str, Any]] = getattr(optimizer, "param_groups", [])
    return {weight for group in groups for weight in group["params"]}


def _held_elsewhere(model: nn.Module) -> list[nn.Parameter]:
    """The weights of `model` that anybody but the modules themselves refers to.

    Looking for whom takes tenths of a second; counting references takes none, and most networks are held by nobody.
    """
    (alone,) = _references(nn.ParameterList([nn.Parameter(torch.empty(0))])).values()
    places = Counter(id(weight) for module in model.modules() for weight in parameter_table(module).values())
    held = {
        weight
        for module in model.modules()
        for weight, count in _references(module).items()
        if count > alone + places[weight] - 1
    }
    return [weight for weight in model.parameters() if id(weight) in held]


def _references(module: nn.Module) -> dict[int, int]:
    """How many references there are to each of a module's own weights, by its id."""
    if isinstance(module, torch.jit.ScriptModule):
        return {}
    table = parameter_table(module)
    return {id(table[name]): sys.getrefcount(table[name]) for name in table if table[name] is not None}


def _is_sharded(model: nn.Module) -> bool:
    """Whether a weight is a DTensor; where nobody has imported these, none is."""
    tensors = sys.modules.get("torch.distributed.tensor")
    return tensors is not None and any(isinstance(weight, tensors.DTensor) for weight in model.parameters())


def _reducers() -> list[type]:
    """The classes that reduce gradients, of those that were imported."""
    sharding = sys.modules.get("torch.distributed.fsdp")
    fsdp = [sharding.FullyShardedDataParallel] if sharding is not None else []
    return [nn.parallel.DistributedDataParallel, *fsdp]


def _reducing(holders: Iterable[Any]) -> list[Any]:
    """Those that reduce gradients."""
    return [holder for holder in holders if issubclass(type(holder), tuple(_reducers()))]


def schedulers_of(optimizer: Optimizer) -> list[Any]:
    """What sets the learning rates of `optimizer`, torch's own and others' that hold it as `optimizer`."""
    if all("initial_lr" not in group for group in optimizer.param_groups):
        return []
    return [
        thing
        for thing in _holders([optimizer], object)
        if hasattr(type(thing), "step") and not hasattr(type(thing), "zero_grad")
        if hasattr(thing, "__dict__") and vars(thing).get("optimizer") is optimizer
    ]


# How far an optimizer is from a weight (its list, its group, the list of groups, what holds its attributes), and from
# how many weights it is looked for: each one more makes the search longer.
FAR, SAMPLE = 5, 6


def _holders(held: Sequence[Any], *kinds: type) -> list[Any]:
    """The objects of `kinds` that refer to any of `held`, directly or by lists and dicts.

    Asked of the garbage collector from there upwards. A list of all objects of the process would be simpler, and
    break other threads: who holds a tuple that another thread is just making stops it from being finished.
    """
    near: list[Any] = list(held[:: max(1, len(held) // SAMPLE)])
    above: list[Any] = []
    found: dict[int, Any] = {}
    for _ in range(FAR):
        if not near:
            break
        # What this search itself notes down refers to all that it found, and would keep it going.
        ours = list(map(id, (held, near, above, found)))
        above = gc.get_referrers(*near)
        # Some objects answer `isinstance` with work of their own; their type does not.
        found |= {id(thing): thing for thing in above if issubclass(type(thing), kinds)}
        near = [thing for thing in above if type(thing) in (list, dict, set) and id(thing) not in ours]
    return [thing for thing in found.values() if type(thing) not in (list, dict, set)]


def remind(optimizers: Iterable[Optimizer], model: nn.Module) -> None:
    """Let the first of `optimizers` to step say so, once, if by then no optimizer holds the attention of `model`.

    Not at once: whoever makes an optimizer anew, or adds the attention to it, has done nothing wrong.
    """
    held = set().union(*map(weights_in, optimizers))
    new = [weight for weight in attention_parameters(model).values() if weight not in held]
    reminder = _Reminder(new)
    # A wrapper of another library has no hooks of its own; what it wraps is among the optimizers as well.
    stepping = filter(takes_step_hooks, optimizers)
    reminder.handles = [optimizer.register_step_pre_hook(reminder) for optimizer in stepping]


class _Reminder:
    """Runs before an optimizer's step; is gone after the first step at which the attention has gradients."""

    def __init__(self, weights: Iterable[nn.Parameter]) -> None:
        self.weights = [weakref.ref(weight) for weight in weights]
        self.handles: list[RemovableHandle] = []

    def __call__(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        alive = (reference() for reference in self.weights)
        learning = {weight for weight in alive if weight is not None and weight.grad is not None}
        if not learning:
            return
        for handle in self.handles:
            handle.remove()
        if learning.isdisjoint(weights_in(optimizer)) and not any(
            not learning.isdisjoint(weights_in(other)) for other in _holders([*learning], Optimizer)
        ):
            kind = type(optimizer).__name__
            warnings.warn(
                f"this {kind} was made before the attention was put in, and no optimizer holds the attention: it will "
                "stay as it is. surgeon.add_to(optimizer, model) adds it.",
                UntrainedAttention,
                stacklevel=2,
            )
