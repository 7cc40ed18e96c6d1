"""The runs that the table does not have yet, in processes of one thread."""

from __future__ import annotations

from pathlib import Path

from benchmarks import runs
from benchmarks.starts.measure import COLUMNS, FOLDER, Run, measured


def measure(chosen: list[Run], path: Path, jobs: int) -> None:
    """Append a row for each run that the table at `path` does not have yet."""
    FOLDER.mkdir(exist_ok=True)
    runs.measure(chosen, measured, COLUMNS, path, jobs)
