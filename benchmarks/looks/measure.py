"""One run: a network learns cluttered digits from random weights, and is asked where it looks."""

from __future__ import annotations

import time
from math import ceil
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import OneCycleLR

import surgeon
from benchmarks.looks.tasks import SIDE, Canvases, drawn
from benchmarks.starts.networks import resnet

BATCH, RATE, EPOCHS = 64, 3e-3, 20
# What is put in, and where: as its paper has it.
ATTENTION = {"none": "", "se": "residual", "cbam": "residual", "bam": "bottleneck"}
Row = dict[str, Any]


class Run(NamedTuple):
    """What is measured: the attention, how it starts, the seed."""

    attention: str
    init: str
    seed: str


# cam: the share of Grad-CAM's weight that lies inside the digit's square, a mean over the test images that are named
# right. spatial: of the map of the last gate that has one. chance: the square's share of the image.
COLUMNS = [*Run._fields, "accuracy", "cam", "spatial", "chance", "seconds"]


def measured(run: Run) -> Row:
    """The row of `run`."""
    torch.set_num_threads(1)
    began, seed = time.perf_counter(), int(run.seed)
    torch.manual_seed(seed)
    model, test = resnet(1, 2), drawn("test", torch.Generator().manual_seed(10_000))
    if run.attention != "none":
        example = test.images[:2]
        options = {"where": ATTENTION[run.attention], "init": run.init, "reduction": 4, "example_inputs": example}
        surgeon.inject(model, run.attention, **options)
    train(model, seed)
    with torch.no_grad():
        right = model.eval()(test.images).argmax(1) == test.labels
    shown = Canvases(*(tensor[right] for tensor in test))
    found = {
        "accuracy": right.float().mean().item(),
        "cam": inside(grad_cam(model, shown), shown.boxes),
        "spatial": inside(maps, shown.boxes) if (maps := spatial(model, shown)) is not None else "",
        "chance": shown.boxes.float().mean().item(),
        "seconds": time.perf_counter() - began,
    }
    return run._asdict() | {name: f"{value:.5f}" if value != "" else "" for name, value in found.items()}


def train(model: nn.Module, seed: int) -> None:
    """Epochs of AdamW; the canvases are drawn anew for each."""
    draw = torch.Generator().manual_seed(seed)
    optimizer = AdamW(surgeon.param_groups(model, lr=RATE, weight_decay=0.05))
    rates = [group["lr"] for group in optimizer.param_groups]
    schedule = None
    for _ in range(EPOCHS):
        canvases = drawn("train", draw)
        schedule = schedule or OneCycleLR(optimizer, rates, total_steps=EPOCHS * ceil(len(canvases.labels) / BATCH))
        model.train()
        for batch in torch.randperm(len(canvases.labels), generator=draw).split(BATCH):
            loss = F.cross_entropy(model(canvases.images[batch]), canvases.labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()


def grad_cam(model: nn.Module, of: Canvases) -> Tensor:
    """Grad-CAM of the last map for the right class (Selvaraju et al., ICCV 2017): (N, SIDE, SIDE), nowhere negative."""
    kept: list[Tensor] = []
    hook = model.get_submodule("layer3").register_forward_hook(lambda module, args, output: kept.append(output))
    scores = model.eval()(of.images)
    hook.remove()
    (gradients,) = torch.autograd.grad(scores.gather(1, of.labels[:, None]).sum(), kept[0])
    cam = (gradients.mean((2, 3), keepdim=True) * kept[0].detach()).sum(1, keepdim=True).relu()
    return F.interpolate(cam, size=SIDE, mode="bilinear")[:, 0]


@torch.no_grad()
def spatial(model: nn.Module, of: Canvases) -> Tensor | None:
    """The map over positions of the last gate that has one: (N, SIDE, SIDE); None without such a gate."""
    with surgeon.record(model) as maps:
        model.eval()(of.images)
    those = [found["spatial"][0] for found in maps.values() if found.get("spatial")]
    return F.interpolate(those[-1], size=SIDE, mode="bilinear")[:, 0] if those else None


def inside(maps: Tensor, boxes: Tensor) -> float:
    """The share of each map's weight that lies inside its box, a mean over those that have any."""
    whole = maps.sum((1, 2))
    share = (maps * boxes).sum((1, 2))[whole > 0] / whole[whole > 0]
    return share.mean().item()
