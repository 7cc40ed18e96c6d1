"""What a run of a network takes: time, and memory for its maps."""

from __future__ import annotations

import time
import weakref
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from statistics import median
from typing import Any

import torch
from torch import Tensor

from surgeon.outside.torch import OpOverload, TorchDispatchMode, tree_leaves
from surgeon.pages.evidence.scoring import Variant
from surgeon.trace.state import in_mode

# Runs of each network that are measured, after one that is not.
ROUNDS = 9


@torch.no_grad()
def milliseconds(variants: Sequence[Variant], images: Tensor, *, rounds: int = ROUNDS) -> list[float]:
    """The median time that each variant takes for the batch; they take turns, so that all meet the same machine."""
    placed = [variant.placed(images) for variant in variants]
    times: list[list[float]] = [[] for _ in variants]
    with _judging(variants):
        for number in range(rounds + 1):
            for variant, own, found in zip(variants, placed, times):
                took = _timed(variant, own)
                if number:
                    found.append(took)
    return [1000 * median(found) for found in times]


def _judging(variants: Sequence[Variant]) -> ExitStack:
    stack = ExitStack()
    for model in {id(variant.model): variant.model for variant in variants}.values():
        stack.enter_context(in_mode(model, False))
    return stack


def _timed(variant: Variant, images: Tensor) -> float:
    start = time.perf_counter()
    variant(images)
    if images.device.type == "cuda":
        torch.cuda.synchronize(images.device)
    return time.perf_counter() - start


@torch.no_grad()
def peak(variant: Variant, images: Tensor) -> int:
    """Bytes of all tensors that a run for the batch makes and that live at one time, at most; weights not counted.

    On a GPU as its allocator counts them; elsewhere as torch's operators make them, one by one.
    """
    images = variant.placed(images)
    with _judging([variant]):
        if images.device.type == "cuda":
            torch.cuda.synchronize(images.device)
            before = torch.cuda.memory_allocated(images.device)
            torch.cuda.reset_peak_memory_stats(images.device)
            variant(images)
            return torch.cuda.max_memory_allocated(images.device) - before
        with _Living() as living:
            variant(images)
        return living.most


class _Living(TorchDispatchMode):
    """Counts the bytes of what operators return, as long as anybody holds it; views count once with what they show."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.most = 0
        self.holders: Counter[int] = Counter()

    def __torch_dispatch__(
        self, func: OpOverload, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        given = {id(leaf): leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)}
        known = {leaf.untyped_storage().data_ptr() for leaf in given.values()}
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor) and id(tensor) not in given:
                self._hold(tensor, known)
        return result

    def _hold(self, tensor: Tensor, known: set[int]) -> None:
        storage = tensor.untyped_storage()
        place, size = storage.data_ptr(), storage.nbytes()
        # What shows the memory of a weight or of the image is nothing new.
        if not size or (place in known and not self.holders[place]):
            return
        if not self.holders[place]:
            self.now += size
            self.most = max(self.most, self.now)
        self.holders[place] += 1
        weakref.finalize(tensor, self._release, place, size)

    def _release(self, place: int, size: int) -> None:
        self.holders[place] -= 1
        if not self.holders[place]:
            self.now -= size
