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

COLUMNS = "tool,group,attention,start,verdict,told,seconds".split(",")
CELLS = [(attention, start) for attention in WHERE for start in STARTS]
# Seconds that all rows of one tool may take.
LIMIT = 300
Row = dict[str, Any]


def measure(names: list[str], path: Path, *, again: bool = False) -> None:
    """The rows of each tool, into the table at `path`, in the order of the registry."""
    found = [row for row in rows(path) if row["tool"] in TOOLS and not (again and row["tool"] in names)]
    done = {row["tool"] for row in found}
    left = [name for name in names if name not in done]
    print(f"{len(names)} tools, {len(names) - len(left)} of them done before.")
    order = {name: number for number, name in enumerate(TOOLS)}
    for number, name in enumerate(left, 1):
        began = time.perf_counter()
        found += _in_a_process(name)
        write(path, COLUMNS, sorted(found, key=lambda row: order[row["tool"]]))
        print(f"{number}/{len(left)} {name}: {time.perf_counter() - began:.0f} s", flush=True)


def _in_a_process(name: str) -> list[Row]:
    context = multiprocessing.get_context("forkserver")
    # Imported once, not once a tool.
    context.set_forkserver_preload([__name__])
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_measured, args=(name, sender))
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
        reason = f"the process died ({process.exitcode})"
    process.kill()
    process.join()
    return found + _missing(name, found, reason)


def _missing(name: str, found: list[Row], reason: str) -> list[Row]:
    """A row for each cell that the process did not come to."""
    done = [(row["attention"], row["start"]) for row in found]
    return [_row(name, *cell, Verdict(FAILS, reason), 0.0) for cell in CELLS if cell not in done]


def _measured(name: str, sender: Connection) -> None:
    """In a process of its own: send each row of the tool `name`."""
    os.environ.update(HF_HUB_OFFLINE="1")
    warnings.simplefilter("ignore")
    # Where it hangs, it says where.
    faulthandler.dump_traceback_later(LIMIT, exit=True)
    torch.set_num_threads(1)
    for attention, start in CELLS:
        began = time.perf_counter()
        found = verdict(TOOLS[name], attention, start)
        sender.send(_row(name, attention, start, found, time.perf_counter() - began))


def _row(name: str, attention: str, start: str, found: Any, seconds: float) -> Row:
    return dict(zip(COLUMNS, (name, TOOLS[name].group, attention, start, *found, f"{seconds:.1f}")))
