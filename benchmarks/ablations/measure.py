"""One run: a small network with a variant of BAM or CBAM learns from random weights."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock

import surgeon
from benchmarks.ablations.variants import VARIANTS, Variant
from benchmarks.starts.candidates import CANDIDATES
from benchmarks.starts.measure import judged
from benchmarks.starts.networks import resnet
from benchmarks.starts.tasks import task
from benchmarks.starts.training import trained

TASK, EPOCHS, RATE = "cued", 8, 3e-3
Row = dict[str, Any]


class Run(NamedTuple):
    """What is measured: a name of `VARIANTS`, and the seed."""

    variant: str
    seed: str


# off: accuracy with the attention switched off afterwards. weights: how many more than without attention.
COLUMNS = [*Run._fields, "accuracy", "off", "weights", "seconds"]


def measured(run: Run) -> Row:
    """The row of `run`."""
    torch.set_num_threads(1)
    of, seed, began = task(TASK), int(run.seed), time.perf_counter()
    torch.manual_seed(seed)
    variant = VARIANTS[run.variant]
    model = network(variant, of.test[:2])
    for _ in trained(model, of, CANDIDATES["none"], "adamw", RATE, EPOCHS, seed, alone=False):
        pass
    found: Row = {
        "accuracy": f"{judged(model, of)[0]:.5f}",
        "off": "",
        "weights": _size(model) - _size(_plain(of.test)),
    }
    if variant.attention:
        with surgeon.disabled(model):
            found["off"] = f"{judged(model, of)[0]:.5f}"
    return run._asdict() | found | {"seconds": f"{time.perf_counter() - began:.2f}"}


def network(variant: Variant, example: Tensor) -> nn.Module:
    """The network of a variant, of random weights."""
    model = _plain(example)
    if variant.attention:
        options = {"init": "eager", "reduction": 4, **variant.options}
        surgeon.inject(model, variant.attention, where=variant.where, example_inputs=example, **options)
    # BAM stands at the ends of all stages but the last.
    for stage, channels in (("layer1", 16), ("layer2", 32)):
        for _ in range(variant.blocks):
            blocks = model.get_submodule(stage)
            blocks.add_module(str(len([*blocks.children()])), BasicBlock(channels, channels))
    return model


def _plain(example: Tensor) -> nn.Module:
    return resnet(example.shape[1], 1)


def _size(model: nn.Module) -> int:
    return sum(weight.numel() for weight in model.parameters())


def runs(seeds: int) -> list[Run]:
    """Every run, seed by seed, so that a command that is stopped leaves whole comparisons of fewer seeds."""
    return [Run(variant, str(seed)) for seed in range(seeds) for variant in VARIANTS]
