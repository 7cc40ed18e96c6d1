"""One run: a trained network, attention in it, training, and what came of it."""

from __future__ import annotations

import statistics
import time
from copy import deepcopy
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import surgeon
from benchmarks.starts import training
from benchmarks.starts.candidates import CANDIDATES
from benchmarks.starts.networks import NETWORKS
from benchmarks.starts.tasks import Task, task
from surgeon.files.atomic import replacing

# What a network learns before anybody thinks of attention: epochs, and their highest rate, by AdamW.
FIRST = (8, 3e-3)
# Where such networks wait for the next run. Delete it when tasks or networks change.
FOLDER = Path(__file__).with_name("first")
Row = dict[str, Any]


class Run(NamedTuple):
    """What is measured, as the table names it."""

    task: str
    network: str
    attention: str
    where: str
    recipe: str
    rate: str
    epochs: str
    start: str
    seed: str


FOUND = "before,at_start,recalibrated,accuracy,loss,lowest,back,movement,least,disabled,seconds".split(",")
COLUMNS = [*Run._fields, *FOUND]


def measured(run: Run) -> Row:
    """The row of `run`.

    before: accuracy without attention. at_start: with it, before training; recalibrated: and with batch norms measured
        anew, for the published start. accuracy, loss: after training.
    lowest: the lowest accuracy after any epoch. back: epochs until `before` was reached again; empty if never.
    movement, least: how far the gates move their maps in the end, as a share of the maps; mean and least.
    disabled: accuracy with the attention switched off.
    """
    torch.set_num_threads(1)
    candidate, of, seed, began = CANDIDATES[run.start], task(run.task), int(run.seed), time.perf_counter()
    before, _ = judged(first(run.task, run.network, None, None, seed), of)
    model = deepcopy(first(run.task, run.network, *_of_scratch(run), seed))
    torch.manual_seed(seed)
    if candidate.init is not None and not candidate.scratch:
        inject(model, run.attention, run.where, candidate.init, of)
    order = torch.Generator().manual_seed(seed + 100)
    at_start, _ = judged(model.eval(), of)
    # Training does not look at the statistics: this changes what is seen before it, and nothing after.
    recalibrated: float | str = ""
    if candidate.init == "paper":
        surgeon.recalibrate(model, training.batches(of, 0, order))
        recalibrated, _ = judged(model, of)
    kind, _, what = run.recipe.partition(" ")
    epochs, accuracies = int(run.epochs), []
    loss = 0.0
    for _ in training.trained(model, of, candidate, kind, float(run.rate), epochs, seed + 1000, alone=what == "alone"):
        accuracy, loss = judged(model, of)
        accuracies.append(accuracy)
    back = next((number for number, accuracy in enumerate([at_start, *accuracies]) if accuracy >= before), "")
    moved = movements(model, of.test)
    with surgeon.disabled(model):
        disabled, _ = judged(model, of)
    found = (
        before,
        at_start,
        recalibrated,
        accuracies[-1],
        loss,
        min(accuracies),
        back,
        statistics.mean(moved),
        min(moved),
    )
    found = (*found, disabled, time.perf_counter() - began)
    return dict(zip(COLUMNS, (*run, *(f"{value:.5f}" if isinstance(value, float) else value for value in found))))


def _of_scratch(run: Run) -> tuple[str | None, str | None]:
    """The attention that the network has from its first epoch on, and where."""
    return (run.attention, run.where) if CANDIDATES[run.start].scratch else (None, None)


@lru_cache(maxsize=4)
def first(name: str, network: str, attention: str | None, where: str | None, seed: int) -> nn.Module:
    """The network as it was before, or with attention from scratch; do not change it.

    Its weights are kept in `FOLDER`, for the next process.
    """
    of, (epochs, rate) = task(name), FIRST
    torch.manual_seed(seed)
    model = NETWORKS[network](of.test.shape[1], 2 if of.test.shape[-2] > 30 else 1)
    if attention is not None and where is not None:
        inject(model, attention, where, "neutral", of)
    file = FOLDER / f"{name}-{network}-{attention}-{where}-{seed}.pt"
    if file.exists():
        model.load_state_dict(torch.load(file))
        return model.eval()
    start = CANDIDATES["scratch" if attention else "none"]
    for _ in training.trained(model, of, start, "adamw", rate, epochs, seed, alone=False):
        pass
    FOLDER.mkdir(exist_ok=True)
    with replacing(file, force=True) as new:
        torch.save(model.state_dict(), new)
    return model


def inject(model: nn.Module, attention: str, where: str, init: str, of: Task) -> None:
    # Hidden layers of 4 to 16 units, as a reduction of 16 leaves them in networks of usual width.
    options = {} if attention == "eca" else {"reduction": 4 if where != "input" else 1}
    surgeon.inject(model, attention, where=where, init=init, example_inputs=of.test[:2], **options)


@torch.no_grad()
def judged(model: nn.Module, of: Task) -> tuple[float, float]:
    """(accuracy, loss) on the test images."""
    scores = model(of.test)
    return (scores.argmax(1) == of.test_labels).float().mean().item(), F.cross_entropy(scores, of.test_labels).item()


@torch.no_grad()
def movements(model: nn.Module, images: Tensor) -> list[float]:
    """By how much each gate changes its map, as a share of the map; 0 where there are none."""
    moved: list[float] = []

    def note(gate: nn.Module, args: tuple[Tensor, ...], y: Tensor) -> None:
        moved.append(((y - args[0]).abs().mean() / args[0].abs().mean()).item())

    hooks = [gate.register_forward_hook(note) for gate in surgeon.attention_modules(model).values()]
    model(images)
    for hook in hooks:
        hook.remove()
    return moved or [0.0]
