"""Times and peaks of memory, in rounds: all cases of a group in turn, so that what disturbs one disturbs them all."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from statistics import median, quantiles
from typing import Any, NamedTuple

import torch

from benchmarks.speed.cases import Case


class Times(NamedTuple):
    """Milliseconds: median, and the middle half of all rounds."""

    middle: float
    low: float
    high: float


def timed(cases: Sequence[Case], rounds: int) -> dict[str, tuple[Times, Times]]:
    """Of each case: its forward and its step."""
    found: dict[str, tuple[list[float], list[float]]] = {case.name: ([], []) for case in cases}
    for number in range(rounds + 2):
        for case in cases:
            for times, run in zip(found[case.name], (case.forward, case.step)):
                took = _milliseconds(run)
                # In the first two rounds loops are compiled and memory is asked for.
                if number > 1:
                    times.append(took)
    return {name: (_times(forward), _times(step)) for name, (forward, step) in found.items()}


def _milliseconds(run: Callable[[], Any]) -> float:
    began = time.perf_counter()
    run()
    return (time.perf_counter() - began) * 1e3


def _times(values: list[float]) -> Times:
    low, _, high = quantiles(values, n=4) if len(values) > 1 else values * 3
    return Times(median(values), low, high)


def kept(case: Case) -> int:
    """Bytes of all tensors that a training step keeps for its way back, each once."""
    sizes: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        case.step()
    return sum(sizes.values())


def keeps(cases: Iterable[Case]) -> dict[str, int]:
    return {case.name: kept(case) for case in cases}
