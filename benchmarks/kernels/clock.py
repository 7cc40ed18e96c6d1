"""How long kernels take on a GPU, beside a copy of the map."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from typing import Any

import torch
import triton


def microseconds(run: Callable[[], Any], rounds: int = 10) -> float:
    """Of `run`, as a CUDA graph of two of it: to start it would take longer than many a kernel."""
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        run()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
        run()
    return median(_replayed(graph) for _ in range(rounds)) / 2


def _replayed(graph: Any) -> float:
    began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    graph.replay()
    began.record()
    graph.replay()
    ended.record()
    torch.cuda.synchronize()
    return began.elapsed_time(ended) * 1e3


def machine() -> str:
    return f"{torch.cuda.get_device_name()}, torch {torch.__version__}, triton {triton.__version__}"
