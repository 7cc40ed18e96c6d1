"""Measuring many networks into one table: in processes, with a bar, going on where a killed run stopped."""

import argparse
import csv
import multiprocessing
import warnings
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path

from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

from surgeon.files.atomic import replacing

# Networks a process measures before it is replaced, so that their memory comes back.
A_PROCESS = 24


def arguments(doc, table, page, *, jobs=2):
    """A parser with what every table asks; `page` is the file that is made from `table`."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--names", nargs="+", help="only these, as library:name")
    parser.add_argument("--jobs", type=int, default=jobs, help=f"processes (default {jobs})")
    parser.add_argument("--output", type=Path, default=table, help=f"the table (default benchmarks/{table.name})")
    parser.add_argument("--page", action="store_true", help=f"write docs/{page.name} from the table, measure nothing")
    return parser


def rows(path):
    """A table as dicts; empty if there is none yet."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def sweep(names, measured, columns, path, jobs, each=A_PROCESS):
    """Append `measured(name)`, a list of rows, to the table at `path`, for each name that is not in it yet.

    A process measures about `each` of them before it is replaced.
    """
    done = {row["network"] for row in rows(path)}
    left = [name for name in names if name not in done]
    print(f"{len(names)} networks, {len(names) - len(left)} of them done before.")
    # A run killed at once leaves an empty file.
    new = not path.exists() or not path.stat().st_size
    bars = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
    with path.open("a", newline="", encoding="utf-8") as file, Progress(*bars) as bar:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        if new:
            writer.writeheader()
        for found in bar.track(
            _measured(partial(_quietly, measured), left, jobs, each), len(left), description=path.stem
        ):
            # All rows of a network at once: half a network would look like a whole one to the next run.
            writer.writerows(found)
            file.flush()
    write(path, columns, sorted(rows(path), key=lambda row: row["network"]))


def _measured(measured, names, jobs, each):
    """What is found for each of the names, in the order in which they are done."""
    context = multiprocessing.get_context("spawn")
    for first in range(0, len(names), jobs * each):
        pool = ProcessPoolExecutor(jobs, context)
        try:
            waiting = [pool.submit(measured, name) for name in names[first : first + jobs * each]]
            yield from (done.result() for done in as_completed(waiting))
        except BrokenProcessPool as error:
            # Often for want of memory.
            raise SystemExit("A process was killed. The same command goes on where it was.") from error
        finally:
            # Whoever stops the run need not wait for those that have not begun.
            pool.shutdown(cancel_futures=True)


def write(path, columns, found):
    """A table in place of the one at `path`; in order of the names, two runs of one commit differ in their times only."""
    with replacing(path, force=True) as new, new.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(found)


def _quietly(measured, name):
    warnings.simplefilter("ignore")
    return measured(name)
