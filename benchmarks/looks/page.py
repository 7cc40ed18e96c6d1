"""The section on where networks look."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import mean

from benchmarks.charts import pyplot_or_none, save
from benchmarks.looks.measure import EPOCHS, Row
from benchmarks.looks.tasks import DIGIT, FRAGMENT, FRAGMENTS, SIDE
from benchmarks.starts.page import numbers, spread

TABLE = Path(__file__).parents[1] / "looks.csv"
NAME = "looks.svg"
ARMS = {
    ("none", ""): "no attention",
    ("se", "eager"): "SE, `eager`",
    ("cbam", "eager"): "CBAM, `eager`",
    ("bam", "eager"): "BAM, `eager`",
    ("cbam", "paper"): "CBAM, `paper`",
}

TEXT = f"""## Where it looks

Made by `python -m benchmarks.looks` from `benchmarks/looks.csv`. CBAM's paper shows pictures: with CBAM, Grad-CAM covers the object better than with SE or
without attention. Here the place is known. *Cluttered digits* are a digit of {DIGIT} x {DIGIT} pixels at a random place of a canvas of {SIDE} x {SIDE}, among
{FRAGMENTS} fragments of {FRAGMENT} x {FRAGMENT} of others: what share of the weight lies inside the digit's square?

{{found}}

![Shares inside the digit's square](looks.svg)

A small ResNet (16, 32, 64 channels) learns from random weights, {EPOCHS} epochs of AdamW at 3e-3, the 1,297 canvases drawn anew for each epoch; 500 others
judge. SE and CBAM stand in each residual branch, BAM at the ends of stages, a reduction of 4. *Grad-CAM* is that of the last map for the right class, over
the images that are named right. *spatial map* is the factor over positions of the last gate that has one.
"""


def section(rows: Sequence[Row]) -> str:
    """The whole section."""
    heads = ["network", "runs", "accuracy", "Grad-CAM inside", "spatial map inside"]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for arm, told in ARMS.items():
        if runs := _of(rows, arm):
            has_map = all(row["spatial"] for row in runs)
            cells = [spread(numbers(runs, "accuracy")), spread(numbers(runs, "cam"))]
            lines.append(
                f"| {told} | {len(runs)} | {' | '.join(cells)} | {spread(numbers(runs, 'spatial')) if has_map else ''} |"
            )
    chance = mean(numbers(rows, "chance"))
    lines.append(f"| the square's share of the image | | | {chance:.3f} | {chance:.3f} |")
    return f"{TEXT.format(found=_found(rows))}\n" + "\n".join(lines) + "\n"


def _found(rows: Sequence[Row]) -> str:
    """What came of it, in words."""
    cam = {arm: numbers(_of(rows, arm), "cam") for arm in ARMS}
    plain, se, cbam = (mean(cam[arm]) for arm in [("none", ""), ("se", "eager"), ("cbam", "eager")])
    figures = (
        f"Grad-CAM has {cbam:.2f} of its weight inside with CBAM, {se:.2f} with SE and {plain:.2f} without attention"
    )
    if cbam > max(se, plain):
        return f"**CBAM looks at the digit more than the others do**: {figures}."
    return (
        f"**CBAM does not look better than SE here, nor than no attention**: {figures}. So what the paper argues with pictures is not "
        "borne out by this task and this small network; attention of any kind is no proof that a network looks where it should."
    )


def _of(rows: Sequence[Row], arm: tuple[str, str]) -> list[Row]:
    return [row for row in rows if (row["attention"], row["init"]) == arm]


def draw(rows: Sequence[Row], docs: Path) -> None:
    """Draw the shares as bars; without matplotlib, warn and leave the chart that is there."""
    pyplot = pyplot_or_none(NAME)
    if pyplot is None or not rows:
        return
    figure, axis = pyplot.subplots(figsize=(7, 2.6))
    names = [arm for arm in ARMS if _of(rows, arm)][::-1]
    for place, arm in enumerate(names):
        for offset, column, colour in ((0.2, "cam", "#47a"), (-0.2, "spatial", "#d73")):
            values = [float(row[column]) for row in _of(rows, arm) if row[column]]
            if values:
                axis.barh(place + offset, mean(values), 0.38, color=colour)
                axis.plot(values, [place + offset] * len(values), "k|", markersize=5)
    axis.axvline(mean(numbers(rows, "chance")), color="black", linewidth=0.8, linestyle=":")
    axis.set_yticks(range(len(names)), [ARMS[arm].replace("`", "") for arm in names], fontsize=8)
    axis.tick_params(labelsize=8)
    axis.set_xlabel(
        "share inside the digit's square: Grad-CAM (blue), spatial map (orange); dotted: the square's share", fontsize=8
    )
    save(figure, docs / NAME)
