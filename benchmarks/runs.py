"""The runs that a table does not have yet, spread over processes or by Ray: a killed command goes on where it stopped."""

from __future__ import annotations

import csv
import multiprocessing
import os
import warnings
from argparse import ArgumentParser
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.sweep import rows

Row = dict[str, Any]
Measured = Callable[[Any], Row]


def add_arguments(parser: ArgumentParser) -> None:
    """Ask for `measure`'s `jobs` and `ray`."""
    parser.add_argument("--jobs", type=int, default=1, help="processes, or Ray's local workers (default 1)")
    parser.add_argument(
        "--ray",
        nargs="?",
        const="local",
        metavar="ADDRESS",
        help="spread the runs by Ray: its workers here, or with an address (auto, HOST:PORT) all machines of a cluster, with surgeon installed on each",
    )


def measure(
    chosen: Sequence[NamedTuple],
    measured: Measured,
    columns: Sequence[str],
    path: Path,
    jobs: int,
    ray: str | None = None,
) -> None:
    """Append `measured(run)` for each run that the table at `path` does not have yet; a run's fields are columns.

    Each is seeded by its run alone, so that it does not matter where it is measured (on processors of one kind), nor how often.

    Args:
        jobs: how many at once. ray: `local`, or the address of a cluster, which does as many as it has processors; None
            for processes without Ray.
    """
    done = {tuple(row[key] for key in run._fields) for run in chosen[:1] for row in rows(path)}
    left = [run for run in chosen if tuple(run) not in done]
    print(f"{len(chosen)} runs, {len(chosen) - len(left)} of them done before.")
    if not left:
        return
    if ray is not None and find_spec("ray") is None:
        raise SystemExit(
            "--ray: Ray is not installed. pip install -e '.[train]', or leave --ray out for processes here."
        )
    # A run killed at once leaves an empty file.
    new = not path.exists() or not path.stat().st_size
    found = _in_processes(measured, left, jobs) if ray is None else _by_ray(measured, left, jobs, ray)
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        if new:
            writer.writeheader()
        for number, row in enumerate(found, 1):
            writer.writerow(row)
            file.flush()
            print(f"\r{number} of {len(left)}", end="" if number < len(left) else "\n", flush=True)


def _in_processes(measured: Measured, left: Sequence[NamedTuple], jobs: int) -> Iterator[Row]:
    """Rows as they are done."""
    pool, is_broken = ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")), False
    try:
        for done in as_completed([pool.submit(_quietly, measured, run) for run in left]):
            # When a process is killed, those that wait fail with it, and others may be done.
            if isinstance(done.exception(), BrokenProcessPool):
                is_broken = True
            else:
                yield done.result()
    finally:
        pool.shutdown(cancel_futures=True)
    if is_broken:
        raise SystemExit("\na process was killed. The table has what was done; the same command goes on.")


def _by_ray(measured: Measured, left: Sequence[NamedTuple], jobs: int, address: str) -> Iterator[Row]:
    """Rows as they are done; what was lost with a worker or a machine is measured by another, up to three times."""
    # Nobody is told of it; and a GPU is seen by those who did not ask for one of their own.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    import ray

    # Machines of a cluster have surgeon, but not the experiments.
    sent = {"py_modules": [str(Path(__file__).parent)], "excludes": ["/starts/first"]}
    here: dict[str, Any] = {"num_cpus": jobs, "include_dashboard": False} if address == "local" else {}
    with ray.init(address, runtime_env=sent, log_to_driver=False, logging_level="ERROR", **here):
        remote = ray.remote(num_cpus=1, max_retries=3)(_quietly)
        waiting = [remote.remote(measured, run) for run in left]
        while waiting:
            (done,), waiting = ray.wait(waiting)
            yield ray.get(done)


def _quietly(measured: Measured, run: NamedTuple) -> Row:
    # A network is trained in fewer steps here than surgeon's warnings are made for.
    warnings.simplefilter("ignore")
    return measured(run)
