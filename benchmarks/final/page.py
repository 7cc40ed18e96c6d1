"""The section on channel attention at the final map."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks.starts.page import is_clear, numbers, spread

TABLE = Path(__file__).parents[1] / "final.csv"
ARMS = {"none": "MobileNetV2", "eager": "and channel attention, `eager`", "paper": "and channel attention, `paper`"}
TASKS = {"digits": "digits in colour", "cifar10": "CIFAR-10"}
Row = dict[str, Any]

TEXT = """## Channel attention on the final map

Made by `python -m benchmarks.final` from `benchmarks/final.csv`. MobileNetV2 of random weights, with CBAM's channel branch at `where="final"` or without. No figure was
published for this alone.

{found}

On the digits on board, each in a colour of its own, 1,297 to learn from and 500 to be judged by, it is torchvision's MobileNetV2 at 0.35 of its width, halving the map
three times, and 12 epochs of AdamW at 3e-3. `--data FOLDER` is for CIFAR-10 on disk and the full width. *over* is the accuracy less that without attention, seed by seed; *off* that with the
attention switched off afterwards.

| images | network | runs | accuracy | over | off | weights |
|---|---|---|---|---|---|---|
"""


def section(rows: Sequence[Row]) -> str:
    """The whole section."""
    lines, found = [], []
    for name in [name for name in TASKS if any(row["task"] == name for row in rows)]:
        of = {arm: [row for row in rows if (row["task"], row["attention"]) == (name, arm)] for arm in ARMS}
        alone = {row["seed"]: float(row["accuracy"]) for row in of["none"]}
        for arm, told in ARMS.items():
            runs = [row for row in of[arm] if row["seed"] in alone]
            if not runs:
                continue
            gains = [float(row["accuracy"]) - alone[row["seed"]] for row in runs]
            off = spread(numbers(runs, "off")) if arm != "none" else ""
            over = spread(gains, sign="+") if arm != "none" else ""
            cells = [TASKS[name], told, str(len(runs)), spread(numbers(runs, "accuracy")), over, off]
            lines.append(f"| {' | '.join([*cells, format(int(runs[0]['weights']), ',')])} |")
            if arm != "none":
                found.append(f"- {_found(name, arm, gains)}")
    return TEXT.format(found="\n".join(found)) + "\n".join(lines) + "\n"


def _found(name: str, arm: str, gains: Sequence[float]) -> str:
    told = f"On {TASKS[name]}, attention that starts as `{arm}` changes the accuracy by {spread(gains, sign='+')}"
    if is_clear(gains):
        return f"{told}: **it {'helps' if mean(gains) > 0 else 'harms'}**, by more than the spread."
    return f"{told}: within the spread, so that **nothing can be concluded**."
