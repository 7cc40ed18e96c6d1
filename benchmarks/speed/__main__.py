"""What attention costs in time and in memory: one module on one map, whole networks, and the same for their rivals.

    python -m benchmarks.speed                        # all groups: about half an hour on two cores
    python -m benchmarks.speed --groups modules --rounds 5
    python -m benchmarks.speed --page                 # docs/performance.md from the table

Nothing else may run meanwhile. Cases of a group take turns, in one process; ratios are made within it. The allocator is
told to keep what it has, and threads to sleep while they wait: a copy of 25 MB costs 1 ms or 8 ms by that alone.
Results go to benchmarks/speed.csv, a group at a time.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import os
import platform
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import timm
import torch
import torchvision

from benchmarks.speed import page
from benchmarks.speed.cases import FORMATS, NETWORKS, STAGES, Case, module_cases, network_cases
from benchmarks.speed.timing import keeps, timed
from benchmarks.sweep import rows, write

TABLE = Path(__file__).parents[1] / "speed.csv"
PAGE = Path(__file__).parents[2] / "docs" / "performance.md"
COLUMNS = (
    "kind,group,layout,dtype,case,forward_ms,forward_low,forward_high,step_ms,step_low,step_high,kept_mb,machine".split(
        ","
    )
)
THREADS = 2
SETTINGS = {
    "MALLOC_MMAP_THRESHOLD_": str(2**32),
    "MALLOC_TRIM_THRESHOLD_": str(2**34),
    "OMP_WAIT_POLICY": "PASSIVE",
    "OMP_NUM_THREADS": str(THREADS),
}
# Float32 in both orders at all stages; half precision at the first.
MODULES: list[Group] = [(shape, layout, "float32") for shape, layout in itertools.product(STAGES, FORMATS)]
MODULES += [(STAGES[0], layout, "bfloat16") for layout in FORMATS]
Group = tuple[Any, ...]
GROUPS: dict[str, list[Group]] = {"modules": [*MODULES], "networks": [*itertools.product(NETWORKS, FORMATS)]}
CASES: dict[str, Callable[..., Iterator[Case]]] = {"modules": module_cases, "networks": network_cases}


def main() -> None:
    args = _arguments()
    if not args.page:
        _settle()
        for kind in args.groups:
            for group in GROUPS[kind]:
                if not args.names or any(name in " ".join(map(str, group)) for name in args.names):
                    _in_a_process(args.output, kind, group, args.rounds)
    if args.page or args.output == TABLE:
        PAGE.write_text(page.written(rows(args.output)), encoding="utf-8")


def _settle() -> None:
    """This very command once more, with what has to be set before a process begins."""
    if any(os.environ.get(name) != value for name, value in SETTINGS.items()):
        os.execve(sys.executable, [sys.executable, "-m", "benchmarks.speed", *sys.argv[1:]], os.environ | SETTINGS)


def _in_a_process(path: Path, kind: str, group: Group, rounds: int) -> None:
    """Measure a group in a process of its own: torch.compile stops after some shapes of one module."""
    process = multiprocessing.get_context("spawn").Process(target=_measured, args=(path, kind, group, rounds))
    process.start()
    process.join()
    if process.exitcode:
        raise SystemExit(f"{kind}, {group}: the process ended with {process.exitcode}")


def _measured(path: Path, kind: str, group: Group, rounds: int) -> None:
    torch.set_num_threads(THREADS)
    cases = CASES[kind](*group)
    name, layout, *dtype = group
    text = name if isinstance(name, str) else " x ".join(map(str, name))
    _measure(path, (kind, text, str(layout), str(dtype[0]) if dtype else "float32"), [*cases], rounds)


def _measure(path: Path, group: tuple[str, ...], cases: list[Case], rounds: int) -> None:
    """The rows of one group, in place of what the table had of it."""
    times, kept = timed(cases, rounds), keeps(cases)
    found = [
        dict(zip(COLUMNS, (*group, name, *_text(*forward), *_text(*step), f"{kept[name] / 1e6:.1f}", machine())))
        for name, (forward, step) in times.items()
    ]
    others = [row for row in rows(path) if tuple(row[column] for column in COLUMNS[:4]) != group]
    write(path, COLUMNS, others + found)
    print(", ".join(group), flush=True)


def _text(*values: float) -> list[str]:
    return [f"{value:.3f}" for value in values]


def machine() -> str:
    """The processor, as far as it tells, and what ran on it."""
    told: Any = Path("/proc/cpuinfo")
    names = (
        [line.partition(":")[2].strip() for line in told.read_text().splitlines() if "model name" in line]
        if told.exists()
        else []
    )
    name = names[0] if names else platform.processor() or platform.machine()
    return f"{name}, {THREADS} threads, torch {torch.__version__}, torchvision {torchvision.__version__}, timm {timm.__version__}"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--groups", nargs="+", choices=GROUPS, default=[*GROUPS], help="only these kinds")
    parser.add_argument("--names", nargs="+", help="only groups with one of these words, such as resnet50")
    parser.add_argument("--rounds", type=int, default=15, help="rounds of all cases of a group (default 15)")
    parser.add_argument("--output", type=Path, default=TABLE, help="the table (default benchmarks/speed.csv)")
    parser.add_argument("--page", action="store_true", help="write docs/performance.md from the table, measure nothing")
    return parser.parse_args()


if __name__ == "__main__":
    main()
