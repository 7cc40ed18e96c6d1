"""Attention that opens on a schedule: from the network as it was to the published module, step by step."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from surgeon.attention import attention_modules
from surgeon.attention.options import whole
from surgeon.errors import BadModel, BadOption


class Opening:
    """Raises every gamma of `model` (and every share, where attention replaces) from where it is to 1, in equal steps.

    Gammas learn no more: the schedule alone moves them, and at its end each gate is the published module. Make it
    before an optimizer or a DistributedDataParallel takes the weights, which count only what learns.

    Args:
        steps: of the optimizer, until all is open; about a tenth of the training, as for a warm-up of the rate.
        optimizer: where the loop is somebody else's (Lightning, timm's script), the optimizer that it steps: each of
            its steps is one here. Without it call `step` after `optimizer.step()`.

    Raises:
        BadModel: no gate with a gamma: neutral and published gates are open from the start.

    >>> surgeon.inject(model, "cbam", init="identity")
    >>> opening = surgeon.Opening(model, steps=1000)
    >>> opening.step()  # after each optimizer.step()
    >>> opening.share
    0.001
    """

    def __init__(self, model: nn.Module, steps: int, *, optimizer: Optimizer | None = None) -> None:
        self.steps = whole("steps", steps)
        self.done = 0
        self._gates = _closed(model)
        if not self._gates:
            raise BadModel("no attention here has a gamma that could be raised: inject it with init='identity'.")
        for gate in self._gates:
            gate.requires_grad_(False)
            gate.grad = None
        self._starts = [gate.detach().clone() for gate in self._gates]
        if optimizer is not None:
            optimizer.register_step_post_hook(lambda *_: self.step())

    @property
    def share(self) -> float:
        """How much of the way is done, from 0 to 1."""
        return min(1.0, self.done / self.steps)

    def step(self) -> None:
        """One step of training is over. Past the last step nothing moves."""
        self.done += 1
        self._set()

    def state_dict(self) -> dict[str, Any]:
        """What resumed training needs beside the network's own weights."""
        return {"steps": self.steps, "done": self.done, "starts": [float(start) for start in self._starts]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state_dict` was taken.

        Raises:
            BadOption: it is of another number of gates.
        """
        if len(state["starts"]) != len(self._gates):
            raise BadOption(f"this state is of {len(state['starts'])} gammas, and the model has {len(self._gates)}.")
        self.steps, self.done = state["steps"], state["done"]
        self._starts = [torch.full_like(gate, start) for gate, start in zip(self._gates, state["starts"])]
        self._set()

    @torch.no_grad()
    def _set(self) -> None:
        for gate, start in zip(self._gates, self._starts):
            # At a share of 1 that is 1 to the bit, the published module.
            gate.copy_(start.to(gate) * (1 - self.share) + self.share)


def _closed(model: nn.Module) -> list[nn.Parameter]:
    """Every gamma and share of the gates, each once."""
    found: dict[nn.Parameter, None] = {}
    for gate in attention_modules(model).values():
        for name, weight in gate.named_parameters():
            if name.rpartition(".")[2] in ("gamma", "share") and not name.startswith("inner."):
                found[weight] = None
    return [*found]
