"""The page on tools, written from the table of results."""

from __future__ import annotations

from itertools import groupby
from typing import Any

from benchmarks.afterwards.known import KNOWN

HEAD = """# Afterwards

Made by `python -m benchmarks.afterwards` from `benchmarks/afterwards.csv`. What people do with a network, tried on
timm's `test_resnet` and on the same with attention, started at `eager`, `identity` and `paper`. The package that a tool comes
from is in the extra `test-tools`.

"""

# In the order in which they are worth reading.
WORDS = {
    "SILENT": "a wrong result, and nobody was told",
    "fails": "an error that the stock network does not get",
    "warned": "surgeon warns, in one line, of what the tool does to the attention",
    "refused": "surgeon says in one line why not",
    "stock fails too": "the tool does not take the network without attention either",
    "not installed": "the package is not there",
    "as stock": (
        "it works as on the stock network: the answers are those of the network without the tool and the attention acts in"
        " them; trained weights move, all of the attention's too, and at an exact start the first step gives the old weights"
        " to the bit what it gives them without attention; what a tool finds out is what it finds on the stock network"
    ),
}
Row = dict[str, Any]


def written(rows: list[Row]) -> str:
    """The whole page."""
    return HEAD + _totals(rows) + _by_group(rows) + _others(rows)


def _totals(rows: list[Row]) -> str:
    lines = [f"{len({row['tool'] for row in rows})} tools, {len(rows)} cells (tool x attention x start):\n"]
    for word, meaning in reversed(WORDS.items()):
        lines.append(f"- **{word}**, {sum(row['verdict'] == word for row in rows)} cells: {meaning}.")
    return "\n".join(lines) + "\n\n"


def _by_group(rows: list[Row]) -> str:
    parts = []
    attentions = list(dict.fromkeys(row["attention"] for row in rows))
    for group, those in groupby(rows, lambda row: row["group"]):
        parts.append(f"## {group.capitalize()}\n")
        parts.append("| tool | " + " | ".join(f"`{name}`" for name in attentions) + " |")
        parts.append("|---|" + "---|" * len(attentions))
        for tool, cells in groupby(those, lambda row: row["tool"]):
            by_attention = {name: list(found) for name, found in groupby(cells, lambda row: row["attention"])}
            parts.append(f"| {tool} | " + " | ".join(_cell(by_attention.get(name, [])) for name in attentions) + " |")
        parts.append("")
    return "\n".join(parts) + "\n"


def _cell(found: list[Row]) -> str:
    """One word, or a word for each start where they differ."""
    words = {row["start"]: row["verdict"] for row in found}
    if len(set(words.values())) == 1:
        return next(iter(words.values()))
    return ", ".join(f"{start}: {word}" for start, word in words.items())


def _others(rows: list[Row]) -> str:
    """What is said where a tool does not work as on the stock network."""
    parts = ["## In words\n"]
    for word, meaning in WORDS.items():
        chosen = [row for row in rows if row["verdict"] == word and word != "as stock"]
        if not chosen:
            continue
        parts.append(f"### {word}: {meaning}\n\n| tool | attention | what was said | why |\n|---|---|---|---|")
        for (tool, told, why), alike in groupby(chosen, lambda row: (row["tool"], row["told"], _why(row))):
            names = [f"{row['attention']} ({row['start']})" for row in alike]
            parts.append(f"| {tool} | {', '.join(names) if len(names) < 10 else 'all'} | {_plain(told)} | {why} |")
        parts.append("")
    return "\n".join(parts)


def _why(row: Row) -> str:
    return KNOWN.get((row["tool"], row["attention"]), "")


def _plain(text: str) -> str:
    return text.replace("|", "/").replace("<", "&lt;")
