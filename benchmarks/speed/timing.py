"""Times and peaks of memory, in rounds: all cases of a group in turn, so that what disturbs one disturbs them all.

Each round has an order of its own: what a case leaves in caches and in the allocator meets another one each time.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Sequence
from statistics import median, quantiles
from typing import Any, NamedTuple

import torch

from benchmarks.speed.cases import Case, Group


class Times(NamedTuple):
    """Milliseconds: median, and the middle half of all rounds."""

    middle: float
    low: float
    high: float


def timed(cases: Sequence[Case], rounds: int, group: Group) -> dict[str, tuple[Times, Times]]:
    """Of each case: its forward and its step."""
    clock = _milliseconds if group.device == "cpu" else _on_the_gpu
    prepared = {case.name: [_prepared(run, group) for run in (case.forward, case.step)] for case in cases}
    found: dict[str, tuple[list[float], list[float]]] = {case.name: ([], []) for case in cases}
    order, names = random.Random(0), list(prepared)
    for number in range(rounds + 2):
        order.shuffle(names)
        for name in names:
            for times, run in zip(found[name], prepared[name]):
                took = clock(run)
                # In the first two rounds loops are compiled and memory is asked for.
                if number > 1:
                    times.append(took)
    return {name: (_times(forward), _times(step)) for name, (forward, step) in found.items()}


def _prepared(run: Callable[[], Any], group: Group) -> Callable[[], Any]:
    """`run`, or a CUDA graph of it."""
    if not group.graph:
        return run
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for _ in range(3):
            run()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    return graph.replay


def _milliseconds(run: Callable[[], Any]) -> float:
    began = time.perf_counter()
    run()
    return (time.perf_counter() - began) * 1e3


def _on_the_gpu(run: Callable[[], Any], times: int = 3) -> float:
    """Several in a row, as a loop over batches has them."""
    torch.cuda.synchronize()
    began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    began.record()
    for _ in range(times):
        run()
    ended.record()
    torch.cuda.synchronize()
    return began.elapsed_time(ended) / times


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
