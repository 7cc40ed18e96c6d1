"""The attention of a network put in anew, at some of its sites."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import torch

from surgeon.anatomy.watch import observed
from surgeon.surgery import again, operate, splice
from surgeon.surgery.operations import alike, owned

if TYPE_CHECKING:
    from torch import nn

    from surgeon.attention import Gate


def leave(model: nn.Module, before: Mapping[str, Gate], kept: Mapping[str, Gate], example: Callable[[], Any]) -> None:
    """Let `kept` be what is left of the attention of `model`, in place, all or nothing.

    Args:
        before: all gates that surgeon put there, by path. kept: some of them, or what takes their places.
        example: gives what to watch the model on, where that is needed.
    """
    gone = before.keys() - kept
    with splice.all_or_nothing(model):
        for gate in kept.values():
            gate.together = tuple(path for path in gate.together if path not in gone)
        if kept and (_are_entangled(before, gone) or _are_parted(before, kept)):
            return regraft(model, kept, example())
        splice.remove(model, {path.rpartition(".")[0] for path in gone})
        splice.exchange(model, {path: gate for path, gate in kept.items() if gate is not before[path]})


def regraft(model: nn.Module, gates: Mapping[str, Gate], example: Any) -> None:
    """Take all attention out of `model`, and put `gates` in at their sites; all or nothing.

    So forwards and names are those that a network has which is built anew with these sites alone.

    Args:
        gates: by the path that each had.
        example: what to watch the model on; None for a guess.
    """
    with torch.random.fork_rng(devices=[]), splice.all_or_nothing(model):
        splice.remove(model)
        for group in alike(gates):
            _put_in(model, group, example)


def _put_in(model: nn.Module, gates: Mapping[str, Gate], example: Any) -> None:
    """Gates of one operation: fresh ones by their plan, and these in the places of those."""
    plan = again.plan_of(gates)
    with observed(model, example) as observation:
        prepared = operate.prepare(model, plan, observation)
    operate.perform(model, plan, prepared, "stitches")
    there = {site: path for stitch in prepared.stitches for site, path in zip(stitch.children, stitch.paths)}
    fresh = {path: model.get_submodule(path) for path in there.values()}
    placed = {there[owned(gate.site, path)]: gate for path, gate in gates.items() if gate.site is not None}
    for path, gate in placed.items():
        for name in ("site", "layout", "told", "operation", "together"):
            setattr(gate, name, getattr(fresh[path], name))
    splice.exchange(model, placed)


def _are_entangled(before: Mapping[str, Gate], gone: Iterable[str]) -> bool:
    """Whether a gate that goes shares a forward with one that stays, or is told something by another module."""
    count = Counter(path.rpartition(".")[0] for path in before)
    leaving = Counter(path.rpartition(".")[0] for path in gone)
    return any(count[owner] != leaving[owner] for owner in leaving) or any(before[path].told for path in gone)


def _are_parted(before: Mapping[str, Gate], kept: Mapping[str, Gate]) -> bool:
    """Whether gates of one module that were made alike are so no more: in a file they would be two operations.

    Built again from that, they would come in another order, under each other's names.
    """
    made: dict[tuple[str, int, str], set[str]] = {}
    for path, gate in kept.items():
        old = before[path]
        made.setdefault((path.rpartition(".")[0], old.operation, repr(old.made)), set()).add(repr(gate.made))
    return any(len(different) > 1 for different in made.values())
