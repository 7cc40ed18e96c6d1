"""Networks answer while others are operated on: every answer equal to the bit, and no error.

    python -m benchmarks.serving [SECONDS]

Four threads ask two stock networks and two operated ones, while a fifth injects, saves, loads and removes on
others. Then two threads operate 100 times each, on networks of their own.
"""

import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import timm
import torch
import torchvision
from rich.console import Console
from rich.table import Table

import surgeon

console = Console(width=110)


def stock(library):
    return (
        torchvision.models.resnet18(num_classes=10)
        if library == "torchvision"
        else timm.create_model("test_vit", num_classes=10)
    ).eval()


def asked(name, model, stop, counts):
    """Ask `model` the same again and again, and count the answers by what they are."""
    image = torch.randn(1, 3, 160, 160)
    with torch.no_grad():
        first = model(image)
        while not stop.is_set():
            try:
                counts[name, "equal" if torch.equal(model(image), first) else "another"] += 1
            except Exception as error:  # whatever goes wrong is what is looked for
                counts[name, f"{type(error).__name__}: {error}"[:60]] += 1


def operate(name, libraries, counts, until):
    """Inject, save, load and remove, each checked by its answer, as long as `until` of the number of rounds says."""
    image, number = torch.randn(1, 3, 160, 160), 0
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        while until(number):
            try:
                counts[
                    name,
                    "right"
                    if _there_and_back(
                        stock(libraries[number % len(libraries)]), image, Path(folder) / "model.safetensors"
                    )
                    else "wrong",
                ] += 1
            except Exception as error:
                counts[name, f"{type(error).__name__}: {error}"[:60]] += 1
            number += 1


def _there_and_back(model, image, path):
    before = model(image)
    surgeon.inject(model, "cbam", where="residual")
    same = torch.equal(model(image), before)
    surgeon.save(model, path)
    same &= torch.equal(surgeon.load(path).eval()(image), before)
    return same and torch.equal(surgeon.remove(model)(image), before)


def main(seconds=60):
    torch.set_num_threads(1)
    counts, stop, end = Counter(), threading.Event(), time.monotonic() + seconds
    served = {f"stock {library}": stock(library) for library in ("torchvision", "timm")}
    served |= {
        f"operated {library}": surgeon.inject(stock(library), "cbam", init="paper")
        for library in ("torchvision", "timm")
    }
    with ThreadPoolExecutor(5) as pool:
        jobs = [pool.submit(asked, name, model, stop, counts) for name, model in served.items()]
        jobs.append(
            pool.submit(
                operate, "inject, save, load, remove", ("torchvision", "timm"), counts, lambda _: time.monotonic() < end
            )
        )
        jobs[-1].result()
        stop.set()
    with ThreadPoolExecutor(2) as pool:
        for library in ("torchvision", "timm"):
            pool.submit(operate, f"one of two threads ({library})", (library,), counts, lambda number: number < 100)
    table = Table(
        "thread", "what came of it", "times", title=f"{seconds} s of serving, and 200 operations in two threads"
    )
    for (name, what), count in sorted(counts.items()):
        table.add_row(name, what, f"{count:,}")
    console.print(table)
    return not all(what in ("equal", "right") for _, what in counts)


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:2])))
