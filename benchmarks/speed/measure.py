"""The rows of one group of cases, measured in a process of its own."""

from __future__ import annotations

import multiprocessing
import platform
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import timm
import torch
import torchvision

from benchmarks.speed.cases import Case, module_cases, network_cases
from benchmarks.speed.timing import keeps, timed
from benchmarks.sweep import rows, write

COLUMNS = (
    "kind,group,layout,dtype,case,forward_ms,forward_low,forward_high,step_ms,step_low,step_high,kept_mb,machine".split(
        ","
    )
)
THREADS = 2
# A map's shape or a network's name, its order in memory, its dtype.
Group = tuple[Any, ...]
CASES: dict[str, Callable[..., Iterator[Case]]] = {"modules": module_cases, "networks": network_cases}


def in_a_process(path: Path, kind: str, group: Group, rounds: int) -> None:
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
