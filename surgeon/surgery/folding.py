"""A network's attention folded for deployment: each gate by itself, and out with those that do nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from surgeon.attention import Gate, attention_modules
from surgeon.attention.folding import folded
from surgeon.errors import BadModel
from surgeon.surgery import splice
from surgeon.surgery.regraft import regraft

if TYPE_CHECKING:
    from torch import nn


def fold(model: nn.Module, example: Callable[[], Any]) -> None:
    """Fold the gates of `model` that surgeon put there, in place, all or nothing.

    Args:
        example: gives what to watch the model on, where that is needed.

    Raises:
        BadModel: no attention, a network in training mode, or a gate that is not what was put in.
    """
    before = {path: gate for path, gate in attention_modules(model).items() if gate.site is not None}
    if not before:
        raise BadModel("this model has no attention to fold; inject some first.")
    training = next((path for path, gate in before.items() if gate.training), None)
    if training is not None:
        raise BadModel(f"{training} is in training mode, and is folded for evaluation alone: call model.eval() first.")
    found = {path: _folded(path, gate) for path, gate in before.items()}
    kept = {path: gate for path, gate in found.items() if gate is not None}
    gone = found.keys() - kept
    with splice.all_or_nothing(model):
        for gate in kept.values():
            gate.together = tuple(path for path in gate.together if path not in gone)
        if _are_entangled(before, gone) or _are_parted(before, kept):
            return regraft(model, kept, example())
        splice.remove(model, {path.rpartition(".")[0] for path in gone})
        splice.exchange(model, {path: gate for path, gate in kept.items() if gate is not before[path]})


def _folded(path: str, gate: Gate) -> Gate | None:
    try:
        return folded(gate)
    except BadModel as error:
        raise BadModel(f"{path} can't be folded: {error}") from None


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
