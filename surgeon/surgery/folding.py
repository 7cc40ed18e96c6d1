"""A network's attention folded for deployment: each gate by itself, and out with those that do nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from surgeon.attention import Gate, attention_modules
from surgeon.attention.folding import folded
from surgeon.errors import BadModel
from surgeon.surgery.regraft import leave

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
    leave(model, before, kept, example)


def _folded(path: str, gate: Gate) -> Gate | None:
    try:
        return folded(gate)
    except BadModel as error:
        raise BadModel(f"{path} can't be folded: {error}") from None
