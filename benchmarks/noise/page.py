"""The section on noise: what was found in the tables, beside what was published."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.charts import pyplot_or_none, save
from benchmarks.noise.measure import CHANNELS, Row
from benchmarks.starts.page import numbers, spread

TABLE = Path(__file__).parents[1] / "noise.csv"
NAME = "noise.svg"
# Of the documents: MobileNetV2 on CIFAR-10, one run each.
PUBLISHED = {"3 none": 0.8453, "6 none": 0.8373, "6 attention": 0.8434}
PUBLISHED_SCORES = (0.98, 0.96, 0.91, 0.007, 0.005, 0.007)
STEMS = {
    "fresh": "**fresh**: all weights random, as in the documents",
    "mean": "**mean**: a network trained on the three colours, the weights for noise the mean of the trained ones",
    "kept": "**kept**: the same, the weights for noise 0, as `surgeon.widen_input` has it by default",
}
ARMS = {
    ("3", "none"): "red, green, blue",
    ("6", "none"): "and three of noise",
    ("6", "eager"): "and channel attention, `eager`",
    ("6", "paper"): "and channel attention, `paper`",
}
TASKS = {"digits": "digits in colour", "cifar10": "CIFAR-10"}

TEXT = """## Noise beside real channels

Made by `python -m benchmarks.noise` from `benchmarks/noise.csv`. A network is given three channels of noise, drawn anew for each image, beside red,
green and blue. `surgeon.widen_input` lets it take six, and CBAM's channel branch stands at `where="input"`. Does attention
tell which channels are real, and is the accuracy back that the noise has cost?

{found}

![The mean score of each channel](noise.svg)
"""

HOW = """The digits are those on board, 1,297 to learn from and 500 to be judged by, each in a colour of its own; the network is timm's test_resnet. Where it knows
something it is the network on board, its kernels for grey copied to each colour, trained on the colours first. All arms learn equally long (AdamW at 3e-3,
8 epochs). A score is the factor of a channel as a share of the largest that there is, 2 for `eager` and 1 for `paper`. *off* is the accuracy with the attention
switched off afterwards. *kernels*: the norm of the first convolution's weights for noise, as a share of that for real channels.
The documents had one run each of MobileNetV2 on CIFAR-10; `--data FOLDER` does that, with CIFAR-10 on disk.
"""


def section(rows: Sequence[Row], found: str) -> str:
    """The whole section; `found` is what the tables below come to, in words."""
    parts = [TEXT.format(found=found), HOW]
    for name in TASKS:
        of = [row for row in rows if row["task"] == name]
        parts += [f"### {TASKS[name][0].upper()}{TASKS[name][1:]}\n\n{_table(of)}\n"] if of else []
    return "\n".join(parts)


def _table(rows: Sequence[Row]) -> str:
    heads = ["weights for noise", "channels", "runs", "accuracy", "over noise alone", "off", *CHANNELS, "kernels"]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for (channels, attention), told in ARMS.items():
        key = f"{channels} {attention if attention == 'none' else 'attention'}"
        if attention != "paper":
            is_there = attention != "none"
            scores = [f"{score:.3f}" for score in PUBLISHED_SCORES] if is_there else [""] * 6
            gain = f"{PUBLISHED[key] - PUBLISHED['6 none']:+.4f}" if key != "6 none" else ""
            name = told.partition(",")[0] if is_there else told
            lines.append(f"| published | {name} | 1 | {PUBLISHED[key]:.4f} | {gain} | | {' | '.join(scores)} | |")
    for stem in STEMS:
        alone = {row["seed"]: float(row["accuracy"]) for row in _of(rows, stem, ("6", "none"))}
        for arm, told in ARMS.items():
            runs = _of(rows, "kept" if stem == "mean" and arm[0] == "3" else stem, arm)
            if not runs:
                continue
            gains = [float(row["accuracy"]) - alone[row["seed"]] for row in runs if row["seed"] in alone]
            has_scores = arm[1] != "none"
            cells = [
                stem,
                told,
                str(len(runs)),
                spread(numbers(runs, "accuracy")),
                spread(gains, sign="+") if arm != ("6", "none") and gains else "",
                spread(numbers(runs, "off")) if has_scores else "",
                *(spread(numbers(runs, channel)) if has_scores else "" for channel in CHANNELS),
                spread(numbers(runs, "kernels")) if arm[0] == "6" else "",
            ]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n\n" + "; ".join(STEMS.values()) + ".\n"


def _of(rows: Sequence[Row], stem: str, arm: tuple[str, str]) -> list[Row]:
    return [row for row in rows if row["stem"] == stem and (row["channels"], row["attention"]) == arm]


def draw(rows: Sequence[Row], docs: Path) -> None:
    """Draw the scores as bars; without matplotlib, warn and leave the chart that is there."""
    pyplot = pyplot_or_none(NAME)
    rows = [row for row in rows if row["task"] == "digits"]
    if pyplot is None or not rows:
        return
    panels = [(stem, start) for start in ("eager", "paper") for stem in STEMS]
    figure, axes = pyplot.subplots(1, len(panels) + 1, figsize=(2 * len(panels) + 2, 2.8), sharey=True)
    colours = ["#c33", "#393", "#36c", "#999", "#999", "#999"]
    axes[0].bar(range(6), PUBLISHED_SCORES, color=colours)
    axes[0].set_title("published", fontsize=9)
    for axis, (stem, start) in zip(axes[1:], panels):
        runs = _of(rows, stem, ("6", start))
        if not runs:
            continue
        values = [numbers(runs, channel) for channel in CHANNELS]
        means = [sum(of) / len(of) for of in values]
        spreads = [
            [mean - min(of) for mean, of in zip(means, values)],
            [max(of) - mean for mean, of in zip(means, values)],
        ]
        axis.bar(range(6), means, yerr=spreads, color=colours, error_kw={"linewidth": 0.8})
        axis.set_title(f"{stem}, {start}", fontsize=9)
    for axis in axes:
        axis.set_xticks(range(6), ["R", "G", "B", "n", "n", "n"])
        axis.tick_params(labelsize=8)
    axes[0].set_ylabel("mean score", fontsize=9)
    figure.supxlabel("mean over the runs, lines from the least to the most", fontsize=9)
    save(figure, docs / NAME)
