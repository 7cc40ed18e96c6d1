"""The chart of the page: what each start gains over the network alone, setting by setting."""

from __future__ import annotations

import statistics
import warnings
from collections.abc import Sequence
from pathlib import Path

from benchmarks.starts.candidates import CANDIDATES
from benchmarks.starts.measure import Row

# The settings of the chart: task, network, attention, recipe; ten epochs each.
SHOWN = [
    ("cued", "resnet", "se", "adamw"),
    ("cued", "resnet", "cbam", "adamw"),
    ("cued", "mobilenet", "se", "adamw"),
    ("cued", "resnet", "se", "sgd"),
    ("unequal", "resnet", "se", "adamw"),
    ("cluttered", "resnet", "cbam", "adamw"),
]


def draw(rows: Sequence[Row], path: Path) -> None:
    """Draw the chart to `path`; without matplotlib, warn and leave the one that is there."""
    try:
        import matplotlib
    except ImportError:
        warnings.warn(f"{path.name} is as it was: matplotlib draws it (pip install matplotlib).", stacklevel=2)
        return
    matplotlib.use("svg")
    # So that two runs of one table draw the same file.
    matplotlib.rcParams["svg.hashsalt"] = "starts"
    from matplotlib import pyplot

    shown = [(setting, found) for setting in SHOWN if (found := gains(rows, setting))]
    figure, axes = pyplot.subplots(1, len(shown), figsize=(2.6 * len(shown), 3.4), sharey=True, squeeze=False)
    for axis, (setting, found) in zip(axes[0], shown):
        names = [*found][::-1]
        means = [statistics.mean(found[name]) for name in names]
        deviations = [statistics.stdev(found[name]) if len(found[name]) > 1 else 0 for name in names]
        axis.barh(names, means, xerr=deviations, color=["#999" if name == "scratch" else "#47a" for name in names])
        axis.axvline(0, color="black", linewidth=0.8)
        axis.set_title("{0}\n{1}, {2}, {3}".format(*setting), fontsize=9)
        axis.tick_params(labelsize=8)
    figure.supxlabel("accuracy over the network alone, trained as long; mean and spread over the seeds", fontsize=9)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


def gains(rows: Sequence[Row], setting: tuple[str, ...]) -> dict[str, list[float]]:
    """Start -> its gains over the network alone, seed by seed."""
    chosen = [
        row
        for row in rows
        if (row["task"], row["network"], row["attention"], row["recipe"]) == setting and row["epochs"] == "10"
    ]
    alone = {row["seed"]: float(row["accuracy"]) for row in chosen if row["start"] == "none"}
    found: dict[str, list[float]] = {}
    for start in CANDIDATES:
        of = [
            float(row["accuracy"]) - alone[row["seed"]]
            for row in chosen
            if row["start"] == start and row["seed"] in alone
        ]
        if of and start != "none":
            found[start] = of
    return found
