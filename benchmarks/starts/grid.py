"""Which runs are made: not every task with every network, recipe and budget, but those that answer a question."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import NamedTuple

from benchmarks.starts.candidates import CANDIDATES
from benchmarks.starts.measure import Run

ALL = (*CANDIDATES,)
# Where the question is whether what was found elsewhere holds here too.
SOME = ("none", "scratch", "identity", "neutral", "neutral, rate x 10", "paper, recalibrated")


class Cell(NamedTuple):
    """One setting of the experiment.

    recipe: adamw or sgd, of the whole network; with `alone`, of the attention and the head. epochs: after the first training.
    """

    task: str
    network: str
    attention: str
    where: str
    recipe: str
    rate: str
    epochs: int
    starts: tuple[str, ...]


# In the order in which they are measured.
CELLS = [
    Cell("cued", "resnet", "se", "residual", "adamw", "1e-3", 10, ALL),
    Cell("cued", "resnet", "se", "residual", "adamw", "1e-4", 2, ALL),
    Cell("cued", "resnet", "se", "residual", "adamw", "1e-3", 2, ALL),
    Cell("cued", "resnet", "cbam", "residual", "adamw", "1e-3", 10, SOME),
    Cell("plain", "resnet", "cbam", "residual", "adamw", "1e-3", 2, ALL),
    Cell("plain", "resnet", "cbam", "residual", "adamw", "1e-4", 2, ALL),
    Cell("cued", "resnet", "se", "residual", "sgd", "1e-2", 10, ALL),
    Cell("cued", "resnet", "se", "residual", "adamw alone", "1e-2", 10, ALL),
    Cell("cued", "mobilenet", "se", "residual", "adamw", "1e-3", 10, SOME),
    Cell("unequal", "resnet", "se", "residual", "adamw", "1e-3", 10, SOME),
    Cell("cluttered", "resnet", "cbam", "residual", "adamw", "1e-3", 10, SOME),
    Cell("noisy", "resnet", "se", "input", "adamw", "1e-3", 10, SOME),
    Cell("noisy", "resnet", "se", "residual", "adamw", "1e-3", 10, SOME),
    Cell("cued", "convnext", "se", "residual", "adamw", "1e-3", 10, SOME),
    Cell("cued", "resnet", "bam", "bottleneck", "adamw", "1e-3", 10, SOME),
    Cell("cued", "resnet", "eca", "residual", "adamw", "1e-3", 10, SOME),
    Cell("cued", "resnet", "se", "residual", "adamw", "1e-3", 40, ("none", "scratch", "identity", "neutral")),
]


def runs(seeds: int) -> Iterator[Run]:
    """Every run, setting by setting, and in each seed by seed."""
    for cell, seed in product(CELLS, range(seeds)):
        for start in cell.starts:
            if start != "scratch" or "alone" not in cell.recipe:
                yield Run(*cell[:6], str(cell.epochs), start, str(seed))
