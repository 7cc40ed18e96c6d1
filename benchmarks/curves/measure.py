"""One run: a trained network gets attention, and its accuracy is asked for step after step of fine-tuning."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch.optim import AdamW

import surgeon
from surgeon.samples.training import BATCH, DECAY, accuracy, train

STARTS = ("none", "eager", "paper")
RATES = ("1e-4", "1e-3")
# Three epochs; the accuracy is asked for after each step of the first, and then after every third.
STEPS, FIRST, EVERY = 63, 21, 3
# Steps in which the rate rises.
RISE = 10
LOOKS = [0, *range(1, FIRST + 1), *range(FIRST + EVERY, STEPS + 1, EVERY)]


class Run(NamedTuple):
    """What is measured: how the attention starts (none: the network alone), the highest rate, the seed."""

    start: str
    rate: str
    seed: str


COLUMNS = [*Run._fields, *map(str, LOOKS)]


def measured(run: Run) -> dict[str, Any]:
    """The row of `run`: the accuracy on the 500 test images after so many steps."""
    torch.set_num_threads(1)
    (images, labels), test = surgeon.samples.digits("train"), surgeon.samples.digits("test")
    model = train(int(run.seed))
    torch.manual_seed(int(run.seed) + 100)
    if run.start != "none":
        surgeon.inject(model, "cbam", init=run.start)
    rate = float(run.rate)
    optimizer = AdamW(surgeon.param_groups(model, lr=rate, weight_decay=DECAY))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / RISE))
    found = {0: accuracy(model, *test)}
    for step in range(1, STEPS + 1):
        batch = torch.randperm(len(images))[:BATCH]
        loss = F.cross_entropy(model.train()(images[batch]), labels[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step in LOOKS:
            found[step] = accuracy(model, *test)
    return run._asdict() | {str(step): f"{value:.3f}" for step, value in found.items()}


def runs(seeds: int) -> list[Run]:
    """Every run, seed by seed, so that a command that is stopped leaves whole comparisons of fewer seeds."""
    return [Run(start, rate, str(seed)) for seed in range(seeds) for rate in RATES for start in STARTS]
