"""Each tool in a process of its own: what it hangs, kills or leaves behind is its own affair."""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import time
import warnings
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from benchmarks.afterwards.judge import FAILS, Verdict, verdict
from benchmarks.afterwards.subject import STARTS, WHERE
from benchmarks.afterwards.tools import TOOLS
from benchmarks.sweep import rows, write

Cell = tuple[str, str]
COLUMNS = "tool,group,attention,start,verdict,told,seconds".split(",")
CELLS: list[Cell] = [(attention, start) for attention in WHERE for start in STARTS]
# Seconds that all rows of one tool may take.
LIMIT = 1800
Row = dict[str, Any]
ORDER = {name: number for number, name in enumerate(TOOLS)}


def measure(names: list[str], path: Path, *, again: bool = False) -> None:
    """The rows of each tool, into the table at `path`, in the order of the registry."""
    found = [row for row in rows(path) if row["tool"] in TOOLS and not (again and row["tool"] in names)]
    left = {name: cells for name in names if (cells := _left(name, found))}
    print(f"{len(names)} tools, {len(names) - len(left)} of them done before.")
    for number, (name, cells) in enumerate(left.items(), 1):
        began = time.perf_counter()
        found += _in_a_process(name, cells)
        write(path, COLUMNS, sorted(found, key=_place))
        print(f"{number}/{len(left)} {name}: {time.perf_counter() - began:.0f} s", flush=True)


def _left(name: str, found: list[Row]) -> list[Cell]:
    """The cells of the tool `name` that are not among the rows `found`."""
    done = {(row["attention"], row["start"]) for row in found if row["tool"] == name}
    return [cell for cell in CELLS if cell not in done]


def _place(row: Row) -> tuple[int, int]:
    """Where a row stands in the table."""
    return ORDER[row["tool"]], CELLS.index((row["attention"], row["start"]))


def _in_a_process(name: str, cells: list[Cell]) -> list[Row]:
    context = multiprocessing.get_context("forkserver")
    # Imported once, not once a tool.
    context.set_forkserver_preload([__name__])
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_measured, args=(name, cells, sender))
    process.start()
    sender.close()
    found: list[Row] = []
    end = time.monotonic() + LIMIT + 30
    try:
        while receiver.poll(max(0, end - time.monotonic())):
            found.append(receiver.recv())
        reason = f"no answer in {LIMIT} s"
    except EOFError:
        process.join()
        reason = f"the process died ({process.exitcode}), or was stopped after {LIMIT} s"
    process.kill()
    process.join()
    left = _left(name, found)
    return found + [_row(name, *cell, Verdict(FAILS, reason), 0.0) for cell in cells if cell in left]


def _measured(name: str, cells: list[Cell], sender: Connection) -> None:
    """In a process of its own: send the row of each of the `cells` of the tool `name`."""
    os.environ.update(HF_HUB_OFFLINE="1")
    warnings.simplefilter("ignore")
    # Where it hangs, it says where.
    faulthandler.dump_traceback_later(LIMIT, exit=True)
    torch.set_num_threads(1)
    for attention, start in cells:
        began = time.perf_counter()
        found = verdict(TOOLS[name], attention, start)
        sender.send(_row(name, attention, start, found, time.perf_counter() - began))


def _row(name: str, attention: str, start: str, found: Any, seconds: float) -> Row:
    return dict(zip(COLUMNS, (name, TOOLS[name].group, attention, start, *found, f"{seconds:.1f}")))
