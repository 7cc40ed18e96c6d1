"""The tour's figures on networks that were trained with five seeds: `python -m benchmarks.tour`.

A row a seed, which trains the network, draws the attention's weights and orders the images of fine-tuning.
"""

import tempfile
from pathlib import Path

import torch

from surgeon.cli.tour.walk import STOPS, Walk
from surgeon.samples.training import train

SEEDS = range(5)


def row(seed: int) -> str:
    """What a tour of the network of `seed` measures."""
    with tempfile.TemporaryDirectory() as folder:
        walk = Walk(train(seed), Path(folder), seed)
        for stop in STOPS:
            stop.do(walk)
    figures = walk.figures
    least, most = min(figures.opened.values()), max(figures.opened.values())
    accuracies = (figures.before, figures.put_in, figures.paper, figures.tuned)
    numbers = "  ".join(f"{value:.3f}" for value in accuracies)
    return f"{seed}  {numbers}  {least:.0%} to {most:.0%}  {figures.same_bits}  {figures.is_original}"


if __name__ == "__main__":
    torch.set_num_threads(1)
    print("seed  before  put in  paper  fine-tuned  opened  same bits  original again")
    for seed in SEEDS:
        print(row(seed), flush=True)
