"""The page on starts, written from the table of results."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby
from pathlib import Path

from benchmarks.starts import words
from benchmarks.starts.candidates import CANDIDATES, MEANINGS
from benchmarks.starts.chart import draw
from benchmarks.starts.grid import CELLS, Cell
from benchmarks.starts.measure import Row, Run
from benchmarks.starts.networks import NETWORKS
from benchmarks.starts.tasks import TASKS

SETTING = "task,network,attention,where,recipe,rate,epochs".split(",")
HEADINGS = ("start", "runs", "accuracy", "gain", "loss", "lowest", "back after", "movement", "off")


def write(rows: Sequence[Row], docs: Path) -> None:
    """Write starts.md, and its chart where matplotlib is there."""
    (docs / "starts.md").write_text(written(rows), encoding="utf-8")
    draw(rows, docs / "starts.svg")


def written(rows: Sequence[Row]) -> str:
    """The whole page."""
    how = words.HOW.format(
        tasks=_listed(TASKS),
        networks=_listed(NETWORKS),
        starts="\n".join(f"- **{n}**: {m}" for n, m in MEANINGS.items()),
    )
    head = [words.HEAD, words.SHORT, "![What each start gains](starts.svg)\n", how, *_left(rows), words.COLUMNS]
    cells = [_cell(found, _alone(rows, found[0])) for found in _settings(rows)]
    return "\n".join([*head, *cells, _movement(rows)]) + "\n"


def _left(rows: Sequence[Row]) -> list[str]:
    """Which settings the command would measure next, where there are any."""
    runs = {tuple(row[name] for name in Run._fields) for row in rows}
    left = [
        f"{cell.task}, {cell.attention} at `{cell.where}` of the {cell.network}, {cell.recipe} {cell.rate}, {cell.epochs} epochs"
        for cell in CELLS
        if not runs.issuperset(cell.runs)
    ]
    return (
        [f"Not measured, or with fewer runs than planned, until the command goes on: {'; '.join(left)}.\n"]
        if left
        else []
    )


def _listed(made: Mapping[str, Callable[..., object]]) -> str:
    """Names, each with the first line of its docstring."""
    told = {name: (function.__doc__ or "").partition("\n")[0].rstrip(".") for name, function in made.items()}
    return "; ".join(f"`{name}`, {text[0].lower()}{text[1:]}" for name, text in told.items())


def _settings(rows: Iterable[Row]) -> list[list[Row]]:
    """The rows of each setting that was measured, in the order of the grid."""
    order: dict[tuple[str, ...], int] = {}
    for cell in CELLS:
        order.setdefault(_of_cell(cell), len(order))
    known = sorted((row for row in rows if _setting(row) in order), key=lambda row: order[_setting(row)])
    return [list(group) for _, group in groupby(known, _setting)]


def _setting(row: Row) -> tuple[str, ...]:
    return tuple(row[name] for name in SETTING)


def _of_cell(cell: Cell) -> tuple[str, ...]:
    return (*cell[:6], str(cell.epochs))


def _cell(rows: list[Row], alone: dict[str, Row]) -> str:
    """One setting: a line for each start, mean and spread over the seeds."""
    first = rows[0]
    title = (
        f"### {first['task']}: {first['attention']} at `{first['where']}` of the {first['network']}, "
        f"{first['recipe']} {first['rate']}, {first['epochs']} epochs"
    )
    lines = [f"| {' | '.join(HEADINGS)} |", "|---" * len(HEADINGS) + "|"]
    for start in CANDIDATES:
        runs = [row for row in rows if row["start"] == start]
        if runs:
            lines.append("| " + " | ".join(_line(start, runs, alone)) + " |")
    before = spread([float(value) for value in dict.fromkeys(row["before"] for row in rows)])
    return f"{title}\n\nAccuracy before: {before}.{_recalibrated(rows)}\n\n" + "\n".join(lines) + "\n"


def _recalibrated(rows: list[Row]) -> str:
    """What measuring batch norms anew does to the published start, where it was tried."""
    runs = [row for row in rows if row["recalibrated"]]
    if not runs:
        return ""
    stale, fresh = (spread(numbers(runs, name)) for name in ("at_start", "recalibrated"))
    return f" With `paper`, before training: {stale}, and {fresh} with batch norms measured anew."


def _alone(rows: Iterable[Row], like: Row) -> dict[str, Row]:
    """Seed -> the run of the network alone that `like` is compared with, whatever the attention is."""
    shared = ("task", "network", "recipe", "rate", "epochs")
    return {
        row["seed"]: row for row in rows if row["start"] == "none" and all(row[name] == like[name] for name in shared)
    }


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


def is_clear(differences: Sequence[float]) -> bool:
    """Whether differences, one for each of five seeds or more, are more than their spread: two deviations from 0.

    With five that is a t of 4.5, which chance alone brings about once in a hundred times.

    >>> is_clear([0.02, 0.03, 0.02, 0.03, 0.02]), is_clear([0.02, 0.0, 0.03, 0.01, 0.0]), is_clear([0.02, 0.02])
    (True, False, False)
    """
    return len(differences) >= 5 and abs(statistics.mean(differences)) > 2 * statistics.stdev(differences)
