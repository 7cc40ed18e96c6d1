"""One run: MobileNetV2 of random weights, with channel attention on its final map or without."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import nn
from torchvision.models import MobileNetV2

import surgeon
from benchmarks.noise import tasks
from benchmarks.noise.measure import judged, train

ARMS = ("none", "eager", "paper")
# For small images: narrow, and halving the map three times and not five: expansion, channels, blocks, stride, as in the paper but for strides.
WIDTH = 0.35
BLOCKS = [[1, 16, 1, 1], [6, 24, 2, 2], [6, 32, 3, 2], [6, 64, 4, 1], [6, 96, 3, 1], [6, 160, 3, 1], [6, 320, 1, 1]]
Row = dict[str, Any]


class Run(NamedTuple):
    """What is measured.

    task: digits or cifar10. attention: none, or how that on the final map starts: eager or paper.
    """

    task: str
    attention: str
    epochs: str
    seed: str


# off: accuracy with the attention switched off afterwards. weights: of the network, attention and all.
COLUMNS = [*Run._fields, "accuracy", "off", "weights", "seconds"]


@cache
def task(name: str, folder: str) -> tasks.Task:
    """The task of the experiment with noise, with MobileNetV2 for the digits too."""
    of = tasks.task(name, folder)
    return of if name == "cifar10" else replace(of, fresh=slim, trained=None, epochs=12)


def slim(channels: int) -> nn.Module:
    """torchvision's MobileNetV2 for small images."""
    model = MobileNetV2(num_classes=10, width_mult=WIDTH, inverted_residual_setting=BLOCKS)
    first = model.features[0][0]
    model.features[0][0] = nn.Conv2d(channels, first.out_channels, 3, 2, 1, bias=False)
    return model


def measured(run: Run, folder: str = "") -> Row:
    """The row of `run`; `folder` is where CIFAR-10 lies."""
    torch.set_num_threads(1)
    began, of, seed = time.perf_counter(), task(run.task, folder), int(run.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(seed)
    channels = of.images.shape[1]
    model = of.fresh(channels).to(device)
    if run.attention != "none":
        example = of.test[:2].to(device)
        surgeon.inject(model, "cbam", where="final", example_inputs=example, branches="channel", init=run.attention)
    train(model, of, channels, int(run.epochs), seed, device)
    accuracy, off = judged(model, of.test, of.test_labels, device), ""
    if run.attention != "none":
        with surgeon.disabled(model):
            off = f"{judged(model, of.test, of.test_labels, device):.5f}"
    found = {"accuracy": f"{accuracy:.5f}", "off": off, "weights": sum(w.numel() for w in model.parameters())}
    return run._asdict() | found | {"seconds": f"{time.perf_counter() - began:.2f}"}


def runs(name: str, epochs: int, seeds: int) -> list[Run]:
    """Every run, seed by seed, so that a command that is stopped leaves whole comparisons of fewer seeds."""
    return [Run(name, attention, str(epochs), str(seed)) for seed in range(seeds) for attention in ARMS]
