"""The rows of one group of cases, measured in a process of its own."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import timm
import torch
import torchvision

from benchmarks.speed.cases import Case, Group, cases
from benchmarks.speed.timing import keeps, timed
from benchmarks.sweep import rows, write
from surgeon.pages.evidence.machine import processor

COLUMNS = (
    "kind group batch layout dtype device case forward_ms forward_low forward_high step_ms step_low step_high kept_mb machine"
).split()
THREADS = 2


def in_a_process(path: Path, group: Group, rounds: int, without: list[str]) -> None:
    """Measure a group in a process of its own: torch.compile stops after some shapes of one module."""
    process = multiprocessing.get_context("spawn").Process(target=_measured, args=(path, group, rounds, without))
    process.start()
    process.join()
    if process.exitcode:
        raise SystemExit(f"{group}: the process ended with {process.exitcode}")


def _measured(path: Path, group: Group, rounds: int, without: list[str]) -> None:
    torch.set_num_threads(THREADS)
    torch.backends.cudnn.benchmark = True
    measure(path, group, cases(group, without), rounds)


def measure(path: Path, group: Group, those: list[Case], rounds: int) -> None:
    """The rows of one group, in place of what the table had of it."""
    kept, times = keeps(those), timed(those, rounds, group)
    key = (group.kind, group.name, str(group.shape[0]), group.layout, group.dtype, group.where)
    found = [
        dict(
            zip(
                COLUMNS, (*key, name, *_text(*forward), *_text(*step), f"{kept[name] / 1e6:.1f}", machine(group.device))
            )
        )
        for name, (forward, step) in times.items()
    ]
    others = [row for row in rows(path) if tuple(row[column] for column in COLUMNS[: len(key)]) != key]
    write(path, COLUMNS, others + found)
    print(*key, sep=", ", flush=True)


def _text(*values: float) -> list[str]:
    return [f"{value:.3f}" for value in values]


def machine(device: str) -> str:
    """The processor or the GPU, as far as it tells, and what ran on it."""
    where = f"{processor()}, {THREADS} threads" if device == "cpu" else torch.cuda.get_device_name()
    return f"{where}, torch {torch.__version__}, torchvision {torchvision.__version__}, timm {timm.__version__}"
