"""Whether a gate is what surgeon built, and whether it still computes the same once it is folded."""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import nn

from surgeon.attention.gate import Gate
from surgeon.errors import BadModel
from surgeon.outside.torch import HOOKS, BatchNorm

# How far two gates may lie apart in float64, as a share of the largest number.
ROUNDING = 1e-8
# What a norm has, whoever wrote it: torchvision's frozen ones, and those that are synchronised, are folded as well.
NORM = ("running_mean", "running_var", "weight", "bias", "eps")


def refuse_changes(gate: Gate, fresh: Gate) -> None:
    """Refuse what was put on the layers of a gate since it was built, all of which folding would lose.

    Raises:
        BadModel: another layer, an adapter, a hook; names it.
    """
    found = dict(gate.named_modules())
    for path, own in fresh.named_modules():
        module = found.pop(path, None)
        if module is None or not _is_as_built(module, own):
            what = "is gone" if module is None else f"is a {type(module).__name__}"
            raise BadModel(f"its {path or 'class'} {what}, and is not what was built: take that off or merge it first.")
        refuse_hooks(module, path)
    if found:
        raise BadModel(f"it holds {next(iter(found))}, which was not built: take that off or merge it first.")


def refuse_hooks(module: nn.Module, path: str) -> None:
    """Refuse a module of a gate, or the gate itself, that has hooks: what takes its place would have none."""
    if any(getattr(module, name) for name in HOOKS):
        raise BadModel(f"its {path or 'forward'} has a hook, which would be lost: take it off first.")


def _is_as_built(module: nn.Module, own: nn.Module) -> bool:
    if isinstance(own, BatchNorm) and not [*module.children()]:
        if getattr(module, "running_mean", None) is None:
            return False
        return all(hasattr(module, name) for name in NORM)
    return type(module) is type(own)


def refuse_difference(gate: Gate, twin: Gate) -> None:
    """Refuse a folded gate that computes something else, in float64 on a map of noise.

    Raises:
        BadModel: something in the gate is not as surgeon knows it.
    """
    # Others that are told the size of the map need not be copied for it.
    before = deepcopy(gate, {id(gate.told): None}).cpu().double().eval()
    for one in (before, twin):
        one.passes, one.maps = "eager", None
    x = torch.randn(
        2, gate.channels, *(8,) * gate.dims, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    )
    expected, found = before.attend(x), twin.attend(x)
    if not bool(((expected - found).abs() <= ROUNDING * expected.abs().max()).all()):
        raise BadModel("folded it would compute something else: something in it was changed since it was put in.")
