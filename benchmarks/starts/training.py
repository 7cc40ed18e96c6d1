"""Training as users do it, in epochs of one drawing of each digit: warm-up and cosine, one of two optimizers."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.lr_scheduler import OneCycleLR

import surgeon
from benchmarks.starts.candidates import Candidate
from benchmarks.starts.tasks import DRAWINGS, Task

BATCH, WARM_UP, OPENING = 64, 0.1, 0.2
HEADS = ("fc", "classifier", "head")
Groups = list[dict[str, Any]]


def groups(model: nn.Module, candidate: Candidate, rate: float) -> Groups:
    """The weights by their rates. Plain ones: no weight is spared the decay but gates, norms and biases."""
    found: Groups = surgeon.param_groups(model, lr=rate, attention_lr=rate * candidate.faster, weight_decay=0.01)
    if candidate.gammas == 1:
        return found
    gammas = {weight for name, weight in surgeon.attention_parameters(model).items() if name.endswith("gamma")}
    for group in found:
        group["params"] = [weight for weight in group["params"] if weight not in gammas]
    fast = {"params": [*gammas], "lr": rate * candidate.gammas, "weight_decay": 0.0}
    return [group for group in [*found, fast] if group["params"]]


def optimizer_of(kind: str, of: Groups) -> Optimizer:
    return AdamW(of) if kind == "adamw" else SGD(of, lr=1e-3, momentum=0.9)


def trained(
    model: nn.Module, task: Task, candidate: Candidate, kind: str, rate: float, epochs: int, seed: int, *, alone: bool
) -> Iterator[nn.Module]:
    """Train `model`, and give it in eval mode after each epoch.

    Args:
        alone: all but the attention and the head is frozen.
    """
    if alone:
        _freeze(model)
    steps = epochs * ceil(len(task.labels) / BATCH)
    opening = surgeon.Opening(model, max(1, round(steps * OPENING))) if candidate.opens else None
    of = groups(model, candidate, rate)
    optimizer = optimizer_of(kind, of)
    rates = [group["lr"] for group in of]
    scheduler = OneCycleLR(optimizer, rates, total_steps=steps, pct_start=WARM_UP, cycle_momentum=False)
    order = torch.Generator().manual_seed(seed)
    for epoch in range(epochs):
        model.train()
        if alone:
            _freeze(model)
        for images, labels in batches(task, epoch, order):
            loss = F.cross_entropy(model(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()
            if opening is not None:
                opening.step()
        yield model.eval()


def batches(task: Task, epoch: int, order: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
    images = task.training[epoch % DRAWINGS]
    for batch in torch.randperm(len(images), generator=order).split(BATCH):
        yield images[batch], task.labels[batch]


def _freeze(model: nn.Module) -> None:
    """Freeze all but the attention and the head; train mode wakes batch norms, so it is done again each epoch."""
    if surgeon.attention_modules(model):
        surgeon.freeze(model, head=True)
        return
    model.eval().requires_grad_(False)
    for name in HEADS:
        model.get_submodule(name).requires_grad_(True) if hasattr(model, name) else None
