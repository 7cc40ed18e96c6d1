"""Which runs are made: not every task with every network, recipe and budget, but those that answer a question."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import NamedTuple

from benchmarks.starts.measure import Run

SOME = ("none", "scratch", "identity", "eager")
EXACT = ("none", "identity", "neutral", "eager")
MORE = ("identity, rate x 10", "identity, gamma x 30", "neutral, rate x 10", "opening", "paper")
# How many runs of each start.
SEEDS = 5


class Cell(NamedTuple):
    """One setting of the experiment, and what is compared there.

    recipe: adamw or sgd, of the whole network; with `alone`, of the attention and the head. epochs: after the network's
    first training.
    """

    task: str
    network: str
    attention: str
    where: str
    recipe: str
    rate: str
    epochs: int
    starts: tuple[str, ...]

    @property
    def runs(self) -> Iterator[Run]:
        """Seed by seed, so that a run that is stopped leaves whole comparisons of fewer seeds."""
        for seed in range(SEEDS):
            for start in self.starts:
                yield Run(*self[:6], str(self.epochs), start, str(seed))


# In the order in which they are measured.
CELLS = [
    Cell("cued", "resnet", "se", "residual", "adamw", "1e-3", 10, (*SOME, "neutral")),
    Cell("cued", "resnet", "se", "residual", "adamw", "1e-3", 2, EXACT),
    Cell("cued", "resnet", "se", "residual", "adamw", "1e-4", 2, EXACT),
    Cell("cued", "resnet", "se", "residual", "sgd", "1e-2", 10, SOME),
    Cell("cued", "resnet", "se", "residual", "adamw", "3e-3", 10, SOME),
    Cell("plain", "resnet", "cbam", "residual", "adamw", "1e-3", 2, EXACT),
    Cell("plain", "resnet", "cbam", "residual", "adamw", "1e-4", 2, EXACT),
    Cell("cued", "resnet", "cbam", "residual", "adamw", "3e-3", 10, SOME[1:]),
    Cell("cued", "resnet", "se", "residual", "adamw", "1e-3", 10, MORE),
    Cell("cued", "resnet", "se", "residual", "adamw alone", "1e-2", 10, EXACT),
    Cell("unequal", "resnet", "se", "residual", "adamw", "3e-3", 10, SOME),
    Cell("cluttered", "resnet", "cbam", "residual", "adamw", "3e-3", 10, SOME),
    Cell("noisy", "resnet", "se", "input", "adamw", "3e-3", 10, SOME),
    Cell("cued", "mobilenet", "se", "residual", "adamw", "3e-3", 10, SOME),
    Cell("cued", "resnet", "se", "residual", "sgd", "1e-1", 10, SOME),
    Cell("noisy", "resnet", "se", "residual", "adamw", "3e-3", 10, SOME[1:]),
    Cell("cued", "convnext", "se", "residual", "adamw", "3e-3", 10, SOME),
    Cell("cued", "resnet", "bam", "bottleneck", "adamw", "3e-3", 10, SOME[1:]),
    Cell("cued", "resnet", "eca", "residual", "adamw", "3e-3", 10, SOME[1:]),
    Cell("cued", "resnet", "se", "residual", "adamw", "3e-3", 40, SOME),
]


def runs() -> list[Run]:
    """Every run, setting by setting."""
    return [*chain.from_iterable(cell.runs for cell in CELLS)]
