"""The runs of an experiment, spread by Ray: a worker is killed in the middle, and the table is that of one process."""

import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

pytestmark = pytest.mark.tools

from benchmarks import runs  # noqa: E402
from benchmarks.noise.measure import COLUMNS, Run, measured  # noqa: E402
from benchmarks.sweep import rows  # noqa: E402

CHOSEN = [
    Run("digits", "fresh", "6", attention, "1", str(seed)) for seed in range(2) for attention in ("none", "eager")
]


def table(path):
    """A table without its times, in order of its runs."""
    return sorted(tuple(value for name, value in row.items() if name != "seconds") for row in rows(path))


def killed(folder, run):
    """The row of `run`; the worker that has the second is killed before it can hand it over, the first time."""
    row = measured(run)
    if run == CHOSEN[1] and not (folder / "killed").exists():
        (folder / "killed").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return row


def by_ray(folder):
    """As a command does it."""
    runs.measure(CHOSEN, partial(killed, folder), COLUMNS, folder / "ray.csv", 2, "local")


def test_a_worker_is_killed_and_the_table_is_the_same(tmp_path):
    pytest.importorskip("ray")
    runs.measure(CHOSEN, measured, COLUMNS, tmp_path / "processes.csv", 1)
    # In a process of its own, for what Ray leaves open.
    words = f"from pathlib import Path; from tests.tools.test_ray import by_ray; by_ray(Path({str(tmp_path)!r}))"
    subprocess.run([sys.executable, "-c", words], check=True, cwd=Path(__file__).parents[2], timeout=500)
    assert (tmp_path / "killed").exists()
    found = table(tmp_path / "ray.csv")
    assert len(found) == len(CHOSEN) and found == table(tmp_path / "processes.csv")
