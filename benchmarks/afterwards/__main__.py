"""Each tool x attention x start, against the stock network.

    python -m benchmarks.afterwards                                # what is not in the table yet
    python -m benchmarks.afterwards --names "torch.export" "DDP, 2 processes"
    python -m benchmarks.afterwards --groups adapters --again      # measure these anew
    python -m benchmarks.afterwards --page                         # docs/afterwards.md from the table

Results go to benchmarks/afterwards.csv, all rows of a tool at once; a run that was killed goes on where it stopped.
Each tool has a process of its own: what it hangs, kills or leaves behind is its own affair.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import time
import warnings
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from benchmarks.afterwards import page
from benchmarks.sweep import rows, write

TABLE = Path(__file__).parents[1] / "afterwards.csv"
PAGE = Path(__file__).parents[2] / "docs" / "afterwards.md"
COLUMNS = "tool,group,attention,start,verdict,told,seconds".split(",")
# Seconds that all rows of one tool may take.
LIMIT = 500
Row = dict[str, Any]


def main() -> None:
    args = _arguments()
    if not args.page:
        measure(_chosen(args), args.output, again=args.again)
    if args.page or args.output == TABLE:
        PAGE.write_text(page.written(rows(args.output)), encoding="utf-8")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--names", nargs="+", help="only these tools")
    parser.add_argument("--groups", nargs="+", help="only the tools of these groups")
    parser.add_argument("--again", action="store_true", help="measure anew what is in the table")
    parser.add_argument("--output", type=Path, default=TABLE, help="the table (default benchmarks/afterwards.csv)")
    parser.add_argument("--page", action="store_true", help="write docs/afterwards.md from the table, measure nothing")
    return parser.parse_args()


def _chosen(args: argparse.Namespace) -> list[str]:
    from benchmarks.afterwards.tools import TOOLS

    return [
        name
        for name, tool in TOOLS.items()
        if (not args.names or name in args.names) and (not args.groups or tool.group in args.groups)
    ]


def measure(names: list[str], path: Path, *, again: bool = False) -> None:
    """The rows of each tool, into the table at `path`, in the order of the registry."""
    from benchmarks.afterwards.tools import TOOLS

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
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_measured, args=(name, sender))
    process.start()
    sender.close()
    found: list[Row] = []
    end = time.monotonic() + LIMIT
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
    from benchmarks.afterwards.judge import FAILS, Verdict

    done = [(row["attention"], row["start"]) for row in found]
    return [_row(name, *cell, Verdict(FAILS, reason), 0.0) for cell in _cells() if cell not in done]


def _cells() -> list[tuple[str, str]]:
    from benchmarks.afterwards.subject import STARTS, WHERE

    return [(attention, start) for attention in WHERE for start in STARTS]


def _measured(name: str, sender: Connection) -> None:
    """In a process of its own: send each row of the tool `name`."""
    import torch

    from benchmarks.afterwards.judge import verdict
    from benchmarks.afterwards.tools import TOOLS

    os.environ.update(HF_HUB_OFFLINE="1")
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    for attention, start in _cells():
        began = time.perf_counter()
        found = verdict(TOOLS[name], attention, start)
        sender.send(_row(name, attention, start, found, time.perf_counter() - began))


def _row(name: str, attention: str, start: str, found: Any, seconds: float) -> Row:
    from benchmarks.afterwards.tools import TOOLS

    return dict(zip(COLUMNS, (name, TOOLS[name].group, attention, start, *found, f"{seconds:.1f}")))


if __name__ == "__main__":
    main()
