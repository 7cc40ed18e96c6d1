"""How far attention acts after a little fine-tuning, by the start that it was given.

    python -m benchmarks.starts                  # goes on where it stopped, then prints the table
    python -m benchmarks.starts --table          # the table alone
    python -m benchmarks.starts --attention cbam --starts identity neutral --seeds 2

Real handwriting (scikit-learn's digits, 16 x 16 pixels) and a ResNet of three blocks, trained without attention first.
Attention is put in, and all weights are trained with one rate, as most users do; beside it the same network without
attention is trained as long. One thread, one process; a run takes a few seconds.

movement: the mean of |gate(x) - x| as a share of the mean of |x|, over the gates, on the test images.
disabled: the accuracy after training with the attention switched off.
"""

import argparse
import csv
import itertools
import statistics
import time
from copy import deepcopy
from functools import cache
from pathlib import Path

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn
from torchvision.models.resnet import BasicBlock, conv1x1

import surgeon
from benchmarks.sweep import rows

TABLE = Path(__file__).with_name("starts.csv")
WHERE = {"cbam": "residual", "bam": "bottleneck", "se": "residual", "eca": "residual"}
# Hidden layers of 4, 8 and 16 units, as a reduction of 16 leaves them in networks of usual width.
OPTIONS = {"cbam": {"reduction": 4}, "bam": {"reduction": 4}, "se": {"reduction": 4}, "eca": {}}
STARTS = ("identity", "neutral", "paper")
RATES = ("1e-3", "1e-4")
KEYS = "task,attention,start,rate,epochs,seed".split(",")
COLUMNS = [*KEYS, *"accuracy_before,accuracy_start,accuracy,loss,disabled,movement,seconds".split(",")]


class Network(nn.Sequential):
    """A ResNet of three blocks, with 16, 32 and 64 channels."""

    def __init__(self):
        stem = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        down = [nn.Sequential(conv1x1(16 * n, 32 * n, 2), nn.BatchNorm2d(32 * n)) for n in (1, 2)]
        stages = [BasicBlock(16, 16), BasicBlock(16, 32, 2, down[0]), BasicBlock(32, 64, 2, down[1])]
        super().__init__(stem, *map(nn.Sequential, stages), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


@cache
def digits():
    """(training images, test images, training labels, test labels), the images as (N, 1, 16, 16) in [0, 1]."""
    images, labels = load_digits(return_X_y=True)
    images = torch.tensor(images, dtype=torch.float32).reshape(-1, 1, 8, 8) / 16
    images = F.interpolate(images, size=16, mode="bilinear")
    return train_test_split(images, torch.tensor(labels), test_size=0.3, random_state=0, stratify=labels)


TASKS = {"digits": digits}


@cache
def trained(task, seed):
    """The network as it was before anybody thought of attention."""
    torch.manual_seed(seed)
    return train(Network(), task, rate=1e-3, epochs=3, seed=seed)


def train(model, task, *, rate, epochs, seed):
    images, _, labels, _ = TASKS[task]()
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate)
    order = torch.Generator().manual_seed(seed)
    for _ in range(epochs):
        model.train()
        for batch in torch.randperm(len(images), generator=order).split(64):
            loss = F.cross_entropy(model(images[batch]), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model.eval()


@torch.no_grad()
def judged(model, task):
    """(accuracy, loss) on the test images."""
    _, images, _, labels = TASKS[task]()
    scores = model(images)
    return (scores.argmax(1) == labels).float().mean().item(), F.cross_entropy(scores, labels).item()


@torch.no_grad()
def movement(model, task):
    """How far the gates move their maps, as a share of the maps; 0 where there are none."""
    moved = []
    note = lambda gate, args, y: moved.append(((y - args[0]).abs().mean() / args[0].abs().mean()).item())
    hooks = [gate.register_forward_hook(note) for gate in surgeon.attention_modules(model).values()]
    model(TASKS[task]()[1])
    for hook in hooks:
        hook.remove()
    return statistics.mean(moved) if moved else 0.0


def measured(task, attention, start, rate, epochs, seed):
    """One run as a row of the table; attention `none` is the network alone."""
    torch.set_num_threads(1)
    seed, began = int(seed), time.perf_counter()
    model = deepcopy(trained(task, seed))
    before, _ = judged(model, task)
    if attention != "none":
        torch.manual_seed(seed)
        images = TASKS[task]()[0]
        surgeon.inject(
            model, attention, where=WHERE[attention], init=start, example_inputs=images[:2], **OPTIONS[attention]
        )
    at_start, _ = judged(model.eval(), task)
    train(model, task, rate=float(rate), epochs=int(epochs), seed=seed + 1000)
    accuracy, loss = judged(model, task)
    with surgeon.disabled(model):
        disabled, _ = judged(model, task)
    found = (before, at_start, accuracy, loss, disabled, movement(model, task), time.perf_counter() - began)
    return dict(zip(COLUMNS, (task, attention, start, rate, epochs, seed, *(f"{value:.5f}" for value in found))))


def measure(runs, path):
    """Append a row for each run that the table at `path` does not have yet."""
    done = {tuple(row[key] for key in KEYS) for row in rows(path)}
    left = [run for run in runs if run not in done]
    print(f"{len(runs)} runs, {len(runs) - len(left)} of them done before.")
    new = not path.exists() or not path.stat().st_size
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        if new:
            writer.writeheader()
        for run in left:
            writer.writerow(measured(*run))
            file.flush()


def table(found):
    """The rows as Markdown, mean and spread over the seeds."""
    lines = ["| task | attention | rate | epochs | start | movement | accuracy | loss | disabled |", "|---" * 9 + "|"]
    key = lambda row: (row["task"], row["attention"], row["rate"], row["epochs"], row["start"])
    for group, runs in itertools.groupby(sorted(found, key=key), key):
        runs = list(runs)
        cells = [
            spread([float(run[name]) for run in runs], as_share=name == "movement")
            for name in ("movement", "accuracy", "loss", "disabled")
        ]
        lines.append("| " + " | ".join([*group, *cells]) + " |")
    return "\n".join(lines)


def spread(values, *, as_share):
    """
    >>> spread([0.01, 0.03], as_share=True), spread([0.97, 0.98], as_share=False)
    ('2.00 ± 1.41 %', '0.975 ± 0.007')
    """
    mean, deviation = statistics.mean(values), statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{100 * mean:.2f} ± {100 * deviation:.2f} %" if as_share else f"{mean:.3f} ± {deviation:.3f}"


def main():
    args = _arguments()
    if not args.table:
        starts = [(attention, start) for attention in args.attention for start in args.starts] + [("none", "none")]
        # Seed by seed, so that a run that is stopped leaves a whole table of fewer seeds.
        cells = itertools.product(range(args.seeds), args.tasks, RATES, starts)
        measure([(task, *start, rate, str(args.epochs), str(seed)) for seed, task, rate, start in cells], args.output)
    print(table(rows(args.output)))


def _arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", default=[*TASKS], choices=TASKS)
    parser.add_argument("--attention", nargs="+", default=[*WHERE], choices=WHERE)
    parser.add_argument("--starts", nargs="+", default=[*STARTS], choices=STARTS)
    parser.add_argument("--epochs", type=int, default=2, help="of training with attention (default 2)")
    parser.add_argument("--seeds", type=int, default=5, help="runs of each kind (default 5)")
    parser.add_argument("--output", type=Path, default=TABLE, help="the table (default benchmarks/starts.csv)")
    parser.add_argument("--table", action="store_true", help="print the table, measure nothing")
    return parser.parse_args()


if __name__ == "__main__":
    main()
