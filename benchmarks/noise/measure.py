"""One run: a network that is given channels of noise beside red, green and blue, with attention on its input or without."""

from __future__ import annotations

import time
from collections.abc import Iterator
from math import ceil
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import OneCycleLR

import surgeon
from benchmarks.noise.tasks import NOISE, Task, shifted, task, with_noise

BATCH, RATE = 64, 3e-3
CHANNELS = ("red", "green", "blue", "noise 1", "noise 2", "noise 3")
Row = dict[str, Any]


class Run(NamedTuple):
    """What is measured, as the table names it.

    task: digits or cifar10. stem: how the weights for noise start: `kept`, 0 beside trained ones; `mean`, the mean of
        trained ones; `fresh`, as all weights of a network that nobody trained.
    channels: 3, the images alone, or 6. attention: none, or how that on the input starts: eager or paper.
    """

    task: str
    stem: str
    channels: str
    attention: str
    epochs: str
    seed: str


# off: accuracy with the attention switched off afterwards. kernels: the norm of the first convolution's weights for
# noise, as a share of that for real channels. The scores are means over the test images, from 0 to 1.
FOUND = ["accuracy", "off", "kernels", *CHANNELS, "seconds"]
COLUMNS = [*Run._fields, *FOUND]


def measured(run: Run, folder: str = "") -> Row:
    """The row of `run`; `folder` is where CIFAR-10 lies."""
    torch.set_num_threads(1)
    began, of, seed, channels = time.perf_counter(), task(run.task, folder), int(run.seed), int(run.channels)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(seed)
    model = network(of, run.stem, channels, int(run.epochs), seed, device)
    if run.attention != "none":
        example = torch.zeros(2, channels, *of.test.shape[2:], device=device)
        options = {"branches": "channel", "reduction": 1, "init": run.attention}
        surgeon.inject(model, "cbam", where="input", example_inputs=example, **options)
    train(model, of, channels, int(run.epochs), seed, device)
    test = with_noise(of.test, channels, torch.Generator().manual_seed(10_000))
    accuracy = judged(model, test, of.test_labels, device)
    found: Row = {"accuracy": accuracy, "off": "", "kernels": kernels(model, of.images.shape[1])}
    if run.attention != "none":
        found |= dict(zip(CHANNELS, scores(model, test, device, 2 if run.attention == "eager" else 1)))
        with surgeon.disabled(model):
            found["off"] = judged(model, test, of.test_labels, device)
    found["seconds"] = time.perf_counter() - began
    told = {name: f"{value:.5f}" if isinstance(value, float) else value for name, value in found.items()}
    return dict.fromkeys(COLUMNS, "") | run._asdict() | told


def network(of: Task, stem: str, channels: int, epochs: int, seed: int, device: torch.device) -> nn.Module:
    """The network as it is before it sees noise: trained on red, green and blue, unless `stem` says fresh."""
    if stem == "fresh":
        return of.fresh(channels).to(device)
    real = of.images.shape[1]
    model = of.trained() if of.trained else of.fresh(real)
    train(model.to(device), of, real, epochs, seed + 500, device)
    init = "mean" if stem == "mean" else "zeros"
    return model if channels == real else surgeon.widen_input(model, channels, init=init)


def train(model: nn.Module, of: Task, channels: int, epochs: int, seed: int, device: torch.device) -> None:
    """Epochs of AdamW with a warm-up and a cosine; noise is drawn anew for each batch."""
    optimizer = AdamW(surgeon.param_groups(model, lr=RATE, weight_decay=0.05))
    rates = [group["lr"] for group in optimizer.param_groups]
    schedule = OneCycleLR(optimizer, rates, total_steps=epochs * ceil(len(of.labels) / BATCH))
    model.train()
    for images, labels in batches(of, channels, epochs, torch.Generator().manual_seed(seed)):
        loss = F.cross_entropy(model(images.to(device)), labels.to(device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()


def batches(of: Task, channels: int, epochs: int, draw: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
    """All images in a new order each epoch."""
    for _ in range(epochs):
        for batch in torch.randperm(len(of.labels), generator=draw).split(BATCH):
            images = shifted(of.images[batch], draw) if of.crops else of.images[batch]
            yield with_noise(images, channels, draw), of.labels[batch]


@torch.no_grad()
def judged(model: nn.Module, images: Tensor, labels: Tensor, device: torch.device) -> float:
    """The share of the images that is named right."""
    named = [model.eval()(part.to(device)).argmax(1).cpu() for part in images.split(500)]
    return (torch.cat(named) == labels).float().mean().item()


@torch.no_grad()
def scores(model: nn.Module, images: Tensor, device: torch.device, largest: int) -> list[float]:
    """The mean score of each channel, as a share of the largest factor."""
    with surgeon.record(model) as maps:
        for part in images.split(500):
            model.eval()(part.to(device))
    (gate,) = maps.values()
    return (torch.cat(gate["channel"]).mean((0, 2, 3)) / largest).tolist()


@torch.no_grad()
def kernels(model: nn.Module, real: int) -> float | str:
    """The norm of the first convolution's weights for channels of noise, as a share of that for real ones."""
    weight = next(module.weight for module in model.modules() if isinstance(module, nn.Conv2d))
    if weight.shape[1] == real:
        return ""
    norms = weight.square().sum((0, 2, 3)).sqrt()
    return (norms[real:].mean() / norms[:real].mean()).item()


def runs(name: str, epochs: int, seeds: int) -> list[Run]:
    """Every run, seed by seed, so that a command that is stopped leaves whole comparisons of fewer seeds."""
    found = []
    for seed in range(seeds):
        for stem in ("kept", "mean", "fresh"):
            if stem != "mean":
                found.append(Run(name, stem, "3", "none", str(epochs), str(seed)))
            for attention in ("none", "eager", "paper"):
                found.append(Run(name, stem, str(3 + NOISE), attention, str(epochs), str(seed)))
    return found
