"""The attention of a network put in anew, at some of its sites."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

from surgeon.anatomy.observation import observed
from surgeon.surgery import again, operate, splice
from surgeon.surgery.operations import alike, owned

if TYPE_CHECKING:
    from torch import nn

    from surgeon.attention import Gate


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
