"""The section on the first steps of fine-tuning."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from benchmarks.charts import pyplot_or_none, save
from benchmarks.curves.measure import FIRST, LOOKS, STEPS
from benchmarks.starts.page import numbers, spread

TABLE = Path(__file__).parents[1] / "curves.csv"
NAME = "curves.svg"
ARMS = {"none": "the network alone", "eager": "CBAM, the default start", "paper": 'CBAM, `init="paper"`'}
COLOURS = {"none": "#999", "eager": "#d73", "paper": "#47a"}
Row = dict[str, Any]

TEXT = f"""## The first steps of fine-tuning

Made by `python -m benchmarks.curves` from `benchmarks/curves.csv`. Networks for the digits, one trained with each seed, get CBAM at each residual block and learn on
as a whole, by AdamW, whose rate rises over ten steps and stays. The accuracy on 500 other digits after each of the {FIRST} steps of the first epoch,
and then to step {STEPS}. *lowest* is the lowest of the first epoch, *fall* what that is below the accuracy before, seed by seed.

{{found}}

![Accuracy over the first steps](curves.svg)

| rate | start | runs | before | put in | lowest | fall | after {STEPS} steps |
|---|---|---|---|---|---|---|---|
"""


def section(rows: Sequence[Row]) -> str:
    """The whole section."""
    lines, found = [], []
    for rate in _rates(rows):
        alone = {row["seed"]: float(row["0"]) for row in _of(rows, "none", rate)}
        falls = {}
        for start, told in ARMS.items():
            runs = [row for row in _of(rows, start, rate) if row["seed"] in alone]
            lowest = [min(float(row[str(step)]) for step in range(1, FIRST + 1)) for row in runs]
            falls[start] = [alone[row["seed"]] - low for row, low in zip(runs, lowest)]
            before = [alone[row["seed"]] for row in runs]
            cells = [rate, told, str(len(runs)), spread(before), spread(numbers(runs, "0")), spread(lowest)]
            lines.append(
                f"| {' | '.join([*cells, spread(falls[start], sign='+'), spread(numbers(runs, str(STEPS)))])} |"
            )
        found.append(_found(rate, rows, falls))
    return TEXT.format(found="\n".join(found)) + "\n".join(lines) + "\n"


def _found(rate: str, rows: Sequence[Row], falls: dict[str, list[float]]) -> str:
    before = numbers(_of(rows, "none", rate), "0")
    dropped = [was - float(row["0"]) for was, row in zip(before, _of(rows, "paper", rate))]
    is_within = mean(falls["eager"]) <= stdev(before)
    return (
        f"- At a rate of {rate} the default start falls by {mean(falls['eager']):.3f} at its lowest point of the first epoch, "
        f"{'within' if is_within else 'more than'} the spread of the networks themselves ({stdev(before):.3f}); the network alone falls by {mean(falls['none']):.3f}. "
        f'`init="paper"` has lost {mean(dropped):.3f} (up to {max(dropped):.3f}) before the first step, and is {mean(falls["paper"]):.3f} below at its lowest.'
    )


def _rates(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(row["rate"] for row in rows))


def _of(rows: Sequence[Row], start: str, rate: str) -> list[Row]:
    return sorted(
        (row for row in rows if (row["start"], row["rate"]) == (start, rate)), key=lambda row: int(row["seed"])
    )


def draw(rows: Sequence[Row], docs: Path) -> None:
    """Draw the curves, a mean and a band of one deviation; without matplotlib, warn and leave the chart that is there."""
    pyplot = pyplot_or_none(NAME)
    if pyplot is None or not rows:
        return
    rates = _rates(rows)
    figure, axes = pyplot.subplots(1, len(rates), figsize=(4.6 * len(rates), 3), squeeze=False, sharey=True)
    for axis, rate in zip(axes[0], rates):
        for start, told in ARMS.items():
            values = [numbers(_of(rows, start, rate), str(step)) for step in LOOKS]
            means = [mean(of) for of in values]
            bands = [stdev(of) if len(of) > 1 else 0 for of in values]
            axis.plot(LOOKS, means, color=COLOURS[start], label=told.replace("`", ""))
            low, high = ([m + sign * b for m, b in zip(means, bands)] for sign in (-1, 1))
            axis.fill_between(LOOKS, low, high, color=COLOURS[start], alpha=0.15, linewidth=0)
        axis.axvline(FIRST, color="black", linewidth=0.6, linestyle=":")
        axis.set_title(f"rate {rate}", fontsize=9)
        axis.set_xlabel("steps (dotted: one epoch)", fontsize=8)
        axis.tick_params(labelsize=8)
    axes[0][0].set_ylabel("accuracy", fontsize=8)
    axes[0][0].legend(fontsize=7, loc="lower left")
    save(figure, docs / NAME)
