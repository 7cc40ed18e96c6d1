"""The page on starts, written from the table of results."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path

from benchmarks.starts import words
from benchmarks.starts.candidates import CANDIDATES, MEANINGS
from benchmarks.starts.chart import draw
from benchmarks.starts.grid import CELLS, Cell
from benchmarks.starts.measure import Row

SETTING = "task,network,attention,where,recipe,rate,epochs".split(",")
HEADINGS = ("start", "runs", "accuracy", "gain", "loss", "lowest", "back after", "movement", "off")


def write(rows: Sequence[Row], docs: Path) -> None:
    """Write starts.md, and its chart where matplotlib is there."""
    (docs / "starts.md").write_text(written(rows), encoding="utf-8")
    draw(rows, docs / "starts.svg")


def written(rows: Sequence[Row]) -> str:
    """The whole page."""
    starts = "\n".join(f"- **{name}**: {meaning}" for name, meaning in MEANINGS.items())
    return "\n\n".join([words.HEAD, starts, words.COLUMNS, *map(_cell, _settings(rows)), _movement(rows)]) + "\n"


def _settings(rows: Iterable[Row]) -> list[list[Row]]:
    """The rows of each setting that was measured, in the order of the grid."""
    order = {_of_cell(cell): number for number, cell in enumerate(CELLS)}
    known = sorted((row for row in rows if _setting(row) in order), key=lambda row: order[_setting(row)])
    return [list(group) for _, group in groupby(known, _setting)]


def _setting(row: Row) -> tuple[str, ...]:
    return tuple(row[name] for name in SETTING)


def _of_cell(cell: Cell) -> tuple[str, ...]:
    return (*cell[:6], str(cell.epochs))


def _cell(rows: list[Row]) -> str:
    """One setting: a line for each start, mean and spread over the seeds."""
    first, alone = rows[0], {row["seed"]: row for row in rows if row["start"] == "none"}
    title = (
        f"### {first['task']}: {first['attention']} at `{first['where']}` of the {first['network']}, "
        f"{first['recipe']} {first['rate']}, {first['epochs']} epochs"
    )
    lines = [f"| {' | '.join(HEADINGS)} |", "|---" * len(HEADINGS) + "|"]
    for start in CANDIDATES:
        runs = [row for row in rows if row["start"] == start]
        if runs:
            lines.append("| " + " | ".join(_line(start, runs, alone)) + " |")
    before = spread(numbers(alone.values(), "before"))
    return f"{title}\n\nAccuracy before: {before}.\n\n" + "\n".join(lines)


def _line(start: str, runs: list[Row], alone: dict[str, Row]) -> list[str]:
    gains = [float(row["accuracy"]) - float(alone[row["seed"]]["accuracy"]) for row in runs if row["seed"] in alone]
    costs = [float(row["accuracy"]) - float(row["disabled"]) for row in runs]
    never, back = sum(row["back"] == "" for row in runs), [int(row["back"]) for row in runs if row["back"] != ""]
    return [
        start,
        str(len(runs)),
        spread(numbers(runs, "accuracy")),
        spread(gains, sign="+") if start != "none" else "",
        spread(numbers(runs, "loss")),
        spread(numbers(runs, "lowest")),
        ", ".join(filter(None, [f"{statistics.mean(back):.1f}" if back else "", f"never: {never}" if never else ""])),
        f"{100 * statistics.mean(numbers(runs, 'movement')):.2f} %" if start != "none" else "",
        spread(costs, sign="+") if start != "none" else "",
    ]


def _movement(rows: Sequence[Row]) -> str:
    """How far each start has moved the maps in two epochs, beside identity with one rate."""
    lines = [
        "## How far gates open in two epochs",
        "",
        "| setting | start | movement | times identity's |",
        "|---|---|---|---|",
    ]
    for found in _settings(row for row in rows if row["epochs"] == "2"):
        of = {start: numbers((row for row in found if row["start"] == start), "movement") for start in CANDIDATES}
        if not of["identity"]:
            continue
        first, usual = found[0], statistics.mean(of["identity"])
        for start, moved in of.items():
            if moved and start not in ("none", "scratch"):
                setting = f"{first['task']}, {first['attention']}, {first['recipe']} {first['rate']}"
                lines.append(
                    f"| {setting} | {start} | {100 * statistics.mean(moved):.2f} % | {statistics.mean(moved) / usual:.1f} |"
                )
    return "\n".join(lines)


def numbers(rows: Iterable[Row], name: str) -> list[float]:
    return [float(row[name]) for row in rows]


def spread(values: Sequence[float], sign: str = "") -> str:
    """Mean and standard deviation.

    >>> spread([0.97, 0.98]), spread([0.25], sign="+")
    ('0.975 ± 0.007', '+0.250')
    """
    mean = format(statistics.mean(values), f"{sign}.3f")
    return f"{mean} ± {statistics.stdev(values):.3f}" if len(values) > 1 else mean
