"""The page of evidence, from the tables of the experiments: python -m benchmarks.evidence

Each experiment is a command of its own (benchmarks.noise, benchmarks.final, benchmarks.curves, benchmarks.ablations, benchmarks.looks), which adds what
its table lacks.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.ablations import page as ablations
from benchmarks.curves import page as curves
from benchmarks.final import page as final
from benchmarks.looks import page as looks
from benchmarks.noise import page as noise
from benchmarks.noise import words
from benchmarks.sweep import rows

DOCS = Path(__file__).parents[1] / "docs"
PAGE = DOCS / "evidence.md"

HEAD = """# Evidence

Made by `python -m benchmarks.evidence` from tables that experiments wrote. What is claimed for attention, tried on what everybody has
at hand: the digits and the networks on board, several seeds each, the mean and the spread (standard deviation). These are small
networks and small images, and a finding on them is no more than that; each experiment says how it is run on yours. [How attention starts](starts.md)
has a page of its own. Each command goes on where it was stopped; `--jobs 8` spreads its runs over processes, and `--ray`, with Ray installed
(`pip install -e ".[train]"`), over the machines of a cluster (`--ray auto`, `--ray HOST:PORT`), where the runs of a killed worker are made again: the table came out the same.
"""


def written() -> str:
    """The whole page, of those experiments that have a table."""
    parts = [HEAD]
    if found := rows(noise.TABLE):
        parts.append(noise.section(found, words.found(found)))
    parts += [part.section(found) for part in (final, curves, ablations, looks) if (found := rows(part.TABLE))]
    return "\n".join(parts)


def write() -> None:
    """Write docs/evidence.md and its charts."""
    PAGE.write_text(written(), encoding="utf-8")
    for part in (noise, curves, ablations, looks):
        part.draw(rows(part.TABLE), DOCS)


if __name__ == "__main__":
    write()
