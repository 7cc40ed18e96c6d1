"""An operation done again on a network that was built anew: what it was, read off the gates, and their weights."""

from __future__ import annotations

import copy
import re
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

from torch import nn

from surgeon.attention import Foreign, Gate, attention_modules, lost_attention
from surgeon.errors import BadModel, BadPlan, LostAttention
from surgeon.sites import Plan
from surgeon.surgery.decide import fingerprint
from surgeon.surgery.operations import alike, owned


def plans(other: nn.Module) -> list[Plan]:
    """What was done to `other`, in that order: gates of one operation that were made alike are one Plan."""
    return [plan_of(gates) for gates in alike(attention_modules(other))]


def plan_of(gates: Mapping[str, Gate]) -> Plan:
    """The plan that puts gates at their paths which were made alike, in one operation."""
    path, first = next(iter(gates.items()))
    assert first.made is not None, "gates without their origin are left out"
    sites = (owned(gate.site, path) for path, gate in gates.items() if gate.site)
    name = re.sub(r"_\d+$", "", path.rpartition(".")[2])
    attention = first.made["attention"]
    factory = _factory(first, name) if attention is None else None
    return Plan(attention or name, tuple(sites), dict(first.made["options"]), first.made["init"], factory=factory)


def _factory(gate: Gate, name: str) -> Callable[..., nn.Module]:
    """What makes a gate of a class or by a function that no text names."""
    if not isinstance(gate, Foreign):
        return type(gate)

    def factory(channels: int, **options: Any) -> nn.Module:
        return copy.deepcopy(gate.inner)

    factory.__name__ = name
    return factory


def check_alike(model: nn.Module, other: nn.Module, done: Iterable[Plan]) -> None:
    """Refuse a network that is not the one that `other` was, and one that has attention.

    Raises:
        BadModel, BadPlan: in one line each.
    """
    if not attention_modules(other):
        raise BadModel(f"this {type(other).__name__} has no attention that another network could get.")
    if attention_modules(model):
        raise BadModel(f"this {type(model).__name__} has attention: call surgeon.remove(model) first.")
    kinds = type(model).__name__, type(other).__name__
    told = f"this {kinds[0]} is another network than the {kinds[1]} with attention"
    if fingerprint(model) != fingerprint(other):
        raise BadPlan(f"{told}: {_first_difference(list(model.state_dict(keep_vars=True)), _stock(other))}.")
    shapes, expected = _shapes(model), _shapes(other)
    owners = tuple(f"{site.module}." if site.module else "" for plan in done for site in plan)
    for key, shape in shapes.items():
        # A head for other classes is no other network.
        if key.startswith(owners) and expected[key] != shape:
            sizes = " and ".join(" x ".join(map(str, size)) or "a number" for size in (shape, expected[key]))
            raise BadPlan(f"{told}: {key!r} is {sizes} there.")
    lost = lost_attention(other)
    if lost:
        gone = ", ".join(lost[:3]) + (", ..." if len(lost) > 3 else "")
        count = f"{len(lost)} of {len(lost) + len(attention_modules(other))}"
        text = (
            f"{count} attention modules of this {kinds[1]} are gone ({gone}), and are not put into the other network."
        )
        # To the line that called surgeon.like.
        warnings.warn(text, LostAttention, stacklevel=3)


def _stock(other: nn.Module) -> list[str]:
    gates = tuple(f"{path}." for path in attention_modules(other))
    return [key for key in other.state_dict(keep_vars=True) if not key.startswith(gates)]


def _first_difference(ours: list[str], theirs: list[str]) -> str:
    for here, there in zip(ours, theirs):
        if here != there:
            return f"its weight {here!r} is {there!r} there"
    longer, where = (ours, "here") if len(ours) > len(theirs) else (theirs, "there")
    only = f"{longer[min(len(ours), len(theirs))]!r} is {where} only"
    return f"it has {len(ours)} weights and the other {len(theirs)}; {only}"


def _shapes(model: nn.Module) -> dict[str, tuple[int, ...]]:
    # Not all that a state dict holds is a tensor.
    return {key: tuple(getattr(held, "shape", ())) for key, held in model.state_dict(keep_vars=True).items()}


def copy_attention(model: nn.Module, other: nn.Module) -> None:
    """Give the gates of `model` the weights and the switches that those of `other` have."""
    gates = attention_modules(model)
    for path, gate in attention_modules(other).items():
        target = gates[path]
        own = target.state_dict()
        fitting = {key: held for key, held in gate.state_dict().items() if own[key].shape == cast(Any, held).shape}
        target.load_state_dict(fitting, strict=False)
        target.enabled, target.folded = gate.enabled, gate.folded
