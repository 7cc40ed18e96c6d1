"""What the runs with noise come to, in words; every figure is read from the table."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean, stdev

from benchmarks.noise.measure import CHANNELS, Row
from benchmarks.starts.page import numbers


def found(rows: Sequence[Row]) -> str:
    """The findings on the digits, as a list."""
    of = {(row["stem"], row["channels"], row["attention"]): [] for row in rows if row["task"] == "digits"}
    for row in rows:
        if row["task"] == "digits":
            of[row["stem"], row["channels"], row["attention"]].append(row)
    return "\n".join([_scores(of), _accuracy(of), _trained(of)])


def _scores(of: dict[tuple[str, str, str], list[Row]]) -> str:
    runs = of["fresh", "6", "eager"]
    real, noise = ([mean(float(row[name]) for name in names) for row in runs] for names in (CHANNELS[:3], CHANNELS[3:]))
    least = min(float(row[name]) for row in runs for name in CHANNELS[:3])
    most = max(float(row[name]) for row in runs for name in CHANNELS[3:])
    apart = sum(
        min(float(row[name]) for name in CHANNELS[:3]) > max(float(row[name]) for name in CHANNELS[3:]) for row in runs
    )
    return (
        f"- **It tells them apart.** Trained from random weights, the `eager` start gives real channels a mean score of {mean(real):.3f} ± {stdev(real):.3f} and "
        f"channels of noise {mean(noise):.3f} ± {stdev(noise):.3f}; in {apart} of {len(runs)} runs the lowest of the real ones is above the highest of noise "
        f"(of all runs: {least:.3f} and {most:.3f}). The documents have 0.98, 0.96, 0.91 and 0.007, 0.005, 0.007."
    )


def _accuracy(of: dict[tuple[str, str, str], list[Row]]) -> str:
    rgb, alone, eager, paper = (
        mean(numbers(of["fresh", channels, attention], "accuracy"))
        for channels, attention in (("3", "none"), ("6", "none"), ("6", "eager"), ("6", "paper"))
    )
    back = (eager - alone) / (rgb - alone) if rgb > alone else float("nan")
    return (
        f"- **What comes back.** Noise costs such a network {rgb - alone:.4f} of accuracy ({rgb:.4f} to {alone:.4f}); with attention it has {eager:.4f}, "
        f"{back:.0%} of that loss; with the published start {paper:.4f}. The documents: 84.53 % to 83.73 %, and 84.34 % with attention, 76 % of the loss."
    )


def _trained(of: dict[tuple[str, str, str], list[Row]]) -> str:
    rgb, kept, eager = (
        mean(numbers(of["kept", channels, attention], "accuracy"))
        for channels, attention in (("3", "none"), ("6", "none"), ("6", "eager"))
    )
    mixed, helped = (mean(numbers(of["mean", "6", attention], "accuracy")) for attention in ("none", "eager"))
    return (
        f"- **A trained network whose new weights start at 0 has little to win.** It hardly listens to the noise: {kept:.4f} with noise, {rgb:.4f} without, "
        f"{eager:.4f} with attention. Where the weights for noise start as the mean of the others it has {mixed:.4f}, and {helped:.4f} with attention."
    )
