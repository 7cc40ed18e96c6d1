"""The section on what BAM's and CBAM's papers tried."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks.ablations.measure import EPOCHS
from benchmarks.ablations.variants import CALLED, TABLES, VARIANTS, Table
from benchmarks.charts import pyplot_or_none, save
from benchmarks.starts.page import is_clear, numbers, spread

TABLE = Path(__file__).parents[1] / "ablations.csv"
NAME = "ablations.svg"
# As many runs of each variant as there have to be.
SEEDS = 5
COLOURS = {"": "#999", "bam": "#47a", "cbam": "#d73"}
Row = dict[str, Any]

TEXT = f"""## What BAM's and CBAM's papers tried

Made by `python -m benchmarks.ablations` from `benchmarks/ablations.csv`. Each of the papers' choices again, on a task that was made so that attention matters:
`cued` of [How attention starts](starts.md), on which what a digit means stands elsewhere in the image. On cluttered digits, where attention brings nothing (below), there would be nothing
to tell apart. A ResNet of three blocks (16, 32, 64 channels) learns from random weights, {EPOCHS} epochs of AdamW at 3e-3; 540 images judge.

{{found}}

![Accuracy of each variant](ablations.svg)

Attention starts as `eager`, with a reduction of 4 (the papers' 16 leaves one to four hidden units in a network this narrow); CBAM stands in each residual branch, BAM, in its
paper's form, at the ends of the first two stages. The slope of `eager` was found on this very task, so that its lead over other starts is somewhat too good. *over* is the
accuracy less that of the row in bold, which the paper recommends (of starts: the default), seed by seed; *within*, if its mean is less than twice its standard deviation. More
than that chance alone brings about once in a hundred times, and there are more than twenty comparisons here; an image is 0.002. *off*: accuracy with the attention
switched off afterwards. *weights*: how many more than without attention. *published*: the error in percent, and what that is over no attention: BAM's with a
ResNet-50 on CIFAR-100, CBAM's with a ResNet-50 on ImageNet. The papers were not at hand when this was written: of these figures 24.56, 23.14 and 22.66 were compared with a
second source, the others should be looked up before they are quoted, and those of BAM's other choices are left out.
"""


def section(rows: Sequence[Row]) -> str:
    """The whole section."""
    of = _by_variant(rows)
    tables = [_table(name, table, of) for name, table in TABLES.items()]
    return "\n".join([TEXT.format(found="\n".join(_found(of))), *tables])


def _by_variant(rows: Sequence[Row]) -> dict[str, list[Row]]:
    of: dict[str, list[Row]] = {variant: [] for variant in VARIANTS}
    for row in sorted(rows, key=lambda row: int(row["seed"])):
        of[row["variant"]].append(row)
    return of


def _over(runs: Sequence[Row], others: Sequence[Row]) -> list[float]:
    """The accuracy of the one less that of the other, for each seed that both have."""
    known = {row["seed"]: float(row["accuracy"]) for row in others}
    return [float(row["accuracy"]) - known[row["seed"]] for row in runs if row["seed"] in known]


def _found(of: dict[str, list[Row]]) -> list[str]:
    """What came of it, in words."""
    lines = []
    for variant in ("bam", "cbam"):
        gains = _over(of[variant], of["none"])
        if gains:
            accuracy = spread(numbers(of[variant], "accuracy"))
            claim = "more than" if is_clear(gains) and mean(gains) > 0 else "not more than"
            alone = spread(numbers(of["none"], "accuracy"))
            lines.append(
                f"- **{variant.upper()}** reaches {accuracy}, the network alone {alone}: {claim} the spread ({spread(gains, sign='+')} seed by seed)."
            )
    for name, table in TABLES.items():
        lines.append(f"- {table.title}: {_verdict(name, table, of)}")
    lines.append(_told(of))
    left = sum(max(0, SEEDS - len(runs)) for runs in of.values())
    return [*lines, f"- **Not measured yet**: {left} of {SEEDS * len(of)} runs."] if left else lines


def _told(of: dict[str, list[Row]]) -> str:
    """How many of the choices can be told from those of the papers."""
    others = [
        _over(of[row], of[table.chosen])
        for table in TABLES.values()
        for row in table.rows
        if row != table.chosen and of[row]
    ]
    return (
        f"- **Of {len(others)} other choices {sum(map(is_clear, others))} can be told from the papers' own**, and the rest can't: a task on which nearly every attention "
        "brings as much is a coarse measure of how it is made."
    )


def _verdict(name: str, table: Table, of: dict[str, list[Row]]) -> str:
    """Which rows of a table are clearly better or worse than the paper's choice, and which can't be told from it."""
    sorts: dict[str, list[str]] = {"better": [], "worse": [], "": []}
    for row in table.rows:
        gains = _over(of[row], of[table.chosen])
        if row != table.chosen and gains:
            sort = ("better" if mean(gains) > 0 else "worse") if is_clear(gains) else ""
            sorts[sort].append(f"{_called(name, row)} ({mean(gains):+.3f})")
    told = [f"{', '.join(those)} clearly {sort}" for sort, those in sorts.items() if sort and those]
    if sorts[""]:
        told.append(f"nothing can be concluded of {', '.join(sorts[''])}, within the spread")
    return f"beside {_called(name, table.chosen)}, {'; '.join(told)}." if told else "not measured."


def _called(name: str, variant: str) -> str:
    return CALLED.get((name, variant), VARIANTS[variant].told)


def _table(name: str, table: Table, of: dict[str, list[Row]]) -> str:
    heads = ["", "runs", "accuracy", "over", "off", "weights", "published"]
    lines = [f"### {table.title}\n", f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for variant in ("none", *table.rows):
        runs, told = of[variant], _called(name, variant)
        cells = [f"**{told}**" if variant == table.chosen else told, str(len(runs))]
        if runs:
            gains = _over(runs, of[table.chosen]) if variant != table.chosen else []
            over = f"{spread(gains, sign='+')}{'' if is_clear(gains) else ', within'}" if gains else ""
            off = spread(numbers(runs, "off")) if VARIANTS[variant].attention else ""
            cells += [spread(numbers(runs, "accuracy")), over, off, f"{int(runs[0]['weights']):,}"]
        else:
            cells += ["not measured", "", "", ""]
        lines.append(f"| {' | '.join([*cells, _published(table, variant)])} |")
    return "\n".join(lines) + "\n"


def _published(table: Table, variant: str) -> str:
    """The published error, and by how much it is below that without attention."""
    if variant not in table.published:
        return ""
    error = table.published[variant]
    return f"{error:.2f}" if variant == "none" else f"{error:.2f} ({error - table.published['none']:+.2f})"


def draw(rows: Sequence[Row], docs: Path) -> None:
    """Draw each variant's runs and their mean; without matplotlib, warn and leave the chart that is there."""
    pyplot = pyplot_or_none(NAME)
    of = {variant: runs for variant, runs in _by_variant(rows).items() if runs}
    if pyplot is None or not of:
        return
    figure, axis = pyplot.subplots(figsize=(7, 0.22 * len(of) + 0.8))
    for place, (variant, runs) in enumerate(reversed(of.items())):
        values, colour = numbers(runs, "accuracy"), COLOURS[VARIANTS[variant].attention]
        axis.plot(values, [place] * len(values), "|", color=colour, markersize=7)
        axis.plot([mean(values)], [place], "o", color=colour, markersize=5)
    names = [*reversed(of)]
    axis.set_yticks(range(len(names)), names, fontsize=8)
    axis.tick_params(labelsize=8)
    axis.grid(axis="x", linewidth=0.4)
    axis.set_xlabel("accuracy: each run, and the mean", fontsize=8)
    save(figure, docs / NAME)
