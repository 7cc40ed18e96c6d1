"""The runs that the table does not have yet, in processes of one thread."""

from __future__ import annotations

import csv
import multiprocessing
import warnings
from pathlib import Path

from benchmarks.starts.measure import COLUMNS, FOLDER, Row, Run, measured
from benchmarks.sweep import rows


def measure(chosen: list[Run], path: Path, jobs: int) -> None:
    """Append a row for each run that the table at `path` does not have yet."""
    done = {tuple(row[key] for key in Run._fields) for row in rows(path)}
    left = [run for run in chosen if run not in done]
    print(f"{len(chosen)} runs, {len(chosen) - len(left)} of them done before.")
    FOLDER.mkdir(exist_ok=True)
    # A run killed at once leaves an empty file.
    new = not path.exists() or not path.stat().st_size
    pool = multiprocessing.get_context("spawn").Pool(jobs)
    with path.open("a", newline="", encoding="utf-8") as file, pool:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        if new:
            writer.writeheader()
        for row in pool.imap_unordered(_quietly, left):
            writer.writerow(row)
            file.flush()


def _quietly(run: Run) -> Row:
    # A network is trained in fewer steps here than surgeon's warnings are made for.
    warnings.simplefilter("ignore")
    return measured(run)
