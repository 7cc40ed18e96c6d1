"""The chart of the page: what each start gains over the network alone, setting by setting."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from math import ceil
from pathlib import Path

from benchmarks.charts import pyplot_or_none, save
from benchmarks.starts.candidates import CANDIDATES
from benchmarks.starts.measure import Row

# The settings of the chart: task, network, attention, recipe, rate; ten epochs each.
SHOWN = [
    ("cued", "resnet", "se", "adamw", "1e-3"),
    ("cued", "resnet", "se", "adamw", "3e-3"),
    ("cued", "resnet", "se", "sgd", "1e-2"),
    ("cued", "resnet", "cbam", "adamw", "3e-3"),
    ("cued", "resnet", "bam", "adamw", "3e-3"),
    ("cued", "mobilenet", "se", "adamw", "3e-3"),
    ("cued", "convnext", "se", "adamw", "3e-3"),
    ("cluttered", "resnet", "cbam", "adamw", "3e-3"),
    ("unequal", "resnet", "se", "adamw", "3e-3"),
]
ACROSS = 3
KEYS = ("task", "network", "attention", "recipe", "rate")


def draw(rows: Sequence[Row], path: Path) -> None:
    """Draw the chart to `path`; without matplotlib, warn and leave the one that is there."""
    pyplot = pyplot_or_none(path.name)
    if pyplot is None:
        return
    shown = [(setting, found) for setting in SHOWN if (found := gains(rows, setting))]
    down = ceil(len(shown) / ACROSS)
    # One scale for all: what helps little is to look little.
    figure, axes = pyplot.subplots(down, ACROSS, figsize=(3.4 * ACROSS, 2.3 * down), squeeze=False, sharex=True)
    for axis, (setting, found) in zip(axes.flat, shown):
        names = [*found][::-1]
        means = [statistics.mean(found[name]) for name in names]
        deviations = [statistics.stdev(found[name]) if len(found[name]) > 1 else 0 for name in names]
        colours = ["#999" if name == "scratch" else "#d73" if name == "eager" else "#47a" for name in names]
        axis.barh(names, means, xerr=deviations, color=colours)
        axis.axvline(0, color="black", linewidth=0.8)
        axis.set_title("{0}\n{1}, {2}, {3} {4}".format(*setting), fontsize=9)
        axis.tick_params(labelsize=8)
        axis.set_xticks([0, 0.05, 0.1])
    figure.supxlabel("accuracy over the network alone, trained as long; mean and spread over the seeds", fontsize=9)
    save(figure, path)


def gains(rows: Sequence[Row], setting: tuple[str, ...]) -> dict[str, list[float]]:
    """Start -> its gains over the network alone, seed by seed."""
    wanted = dict(zip(KEYS, setting)) | {"epochs": "10"}
    shared = {name: value for name, value in wanted.items() if name != "attention"}
    alone = {row["seed"]: float(row["accuracy"]) for row in rows if row["start"] == "none" and _fits(row, shared)}
    found: dict[str, list[float]] = {}
    for row in rows:
        if row["start"] != "none" and _fits(row, wanted) and row["seed"] in alone:
            found.setdefault(row["start"], []).append(float(row["accuracy"]) - alone[row["seed"]])
    return {start: found[start] for start in CANDIDATES if start in found}


def _fits(row: Row, wanted: dict[str, str]) -> bool:
    return all(row[name] == value for name, value in wanted.items())
