"""The runs that a table does not have yet, in processes of one thread: a killed command goes on where it stopped."""

from __future__ import annotations

import csv
import multiprocessing
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.sweep import rows

Row = dict[str, Any]


def measure(
    chosen: Sequence[NamedTuple], measured: Callable[[Any], Row], columns: Sequence[str], path: Path, jobs: int
) -> None:
    """Append `measured(run)` for each run that the table at `path` does not have yet; a run's fields are columns."""
    done = {tuple(row[key] for key in run._fields) for run in chosen[:1] for row in rows(path)}
    left = [run for run in chosen if tuple(run) not in done]
    print(f"{len(chosen)} runs, {len(chosen) - len(left)} of them done before.")
    if not left:
        return
    # A run killed at once leaves an empty file.
    new = not path.exists() or not path.stat().st_size
    pool = multiprocessing.get_context("spawn").Pool(jobs)
    with path.open("a", newline="", encoding="utf-8") as file, pool:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        if new:
            writer.writeheader()
        for number, row in enumerate(pool.imap_unordered(partial(_quietly, measured), left), 1):
            writer.writerow(row)
            file.flush()
            print(f"\r{number} of {len(left)}", end="" if number < len(left) else "\n", flush=True)


def _quietly(measured: Callable[[Any], Row], run: NamedTuple) -> Row:
    # A network is trained in fewer steps here than surgeon's warnings are made for.
    warnings.simplefilter("ignore")
    return measured(run)
