"""What a run of a network takes: time, and memory for its maps."""

from __future__ import annotations

import time
import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from statistics import median
from typing import Any, Protocol

import torch
from torch import Tensor

from surgeon.outside.torch import OpOverload, TorchDispatchMode, tree_leaves
from surgeon.pages.evidence.scoring import Variant
from surgeon.trace.state import in_mode

# Runs of each network that are measured, after one that is not.
ROUNDS = 9


@torch.no_grad()
def milliseconds(
    variants: Sequence[Variant],
    given: Any,
    *,
    rounds: int = ROUNDS,
    progress: Callable[[int], object] = lambda runs: None,
) -> list[float]:
    """The median time that each variant takes for what is given."""
    return [median(times) for times in rounds_of(variants, given, rounds=rounds, progress=progress)]


@torch.no_grad()
def rounds_of(
    variants: Sequence[Variant],
    given: Any,
    *,
    rounds: int = ROUNDS,
    progress: Callable[[int], object] = lambda runs: None,
) -> list[list[float]]:
    """Milliseconds of each variant in each round; they take turns, so that all meet the same machine.

    Args:
        given: a batch of images, or what else the variants are called with.
        progress: called with a number of runs that are done.
    """
    placed = [variant.placed(given) for variant in variants]
    times: list[list[float]] = [[] for _ in variants]
    with judging(variants):
        for number in range(rounds + 1):
            for variant, own, found in zip(variants, placed, times):
                # To get into its state, gates are looked for in the whole network: that is no part of the run.
                with variant.state():
                    start = synchronized(variant.device)
                    variant.run(own)
                    took = synchronized(variant.device) - start
                progress(1)
                if number:
                    found.append(1000 * took)
    return times


def judging(variants: Sequence[Variant]) -> ExitStack:
    """Inside, all networks are in evaluation mode; afterwards as they were."""
    stack = ExitStack()
    for model in {id(variant.model): variant.model for variant in variants}.values():
        stack.enter_context(in_mode(model, False))
    return stack


def synchronized(device: torch.device) -> float:
    """The time in seconds, once the device has done all that it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


@torch.no_grad()
def peak(variant: Variant, given: Any) -> int:
    """Bytes of all tensors that a run makes and that live at one time, at most; weights not counted.

    On a GPU as its allocator counts them; elsewhere as torch's operators make them, one by one.
    """
    placed = variant.placed(given)
    with judging([variant]), metered(variant.device) as meter:
        before = meter.now
        variant(placed)
        return meter.most - before


class Meter(Protocol):
    """Bytes that live now, and the most since it began or was told to `forget`."""

    @property
    def now(self) -> int: ...
    @property
    def most(self) -> int: ...
    def forget(self) -> None: ...


@contextmanager
def metered(device: torch.device) -> Iterator[Meter]:
    """Inside, the Meter counts what is made on the device."""
    if device.type == "cuda":
        yield _Allocator(device)
    else:
        with _Living() as living:
            yield living


class _Allocator:
    """What a GPU's allocator has given away."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.forget()

    @property
    def now(self) -> int:
        return torch.cuda.memory_allocated(self.device)

    @property
    def most(self) -> int:
        return torch.cuda.max_memory_allocated(self.device)

    def forget(self) -> None:
        torch.cuda.synchronize(self.device)
        torch.cuda.reset_peak_memory_stats(self.device)


class _Living(TorchDispatchMode):
    """Counts the bytes of what operators return, as long as anybody holds it; views count once with what they show."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.most = 0
        self.holders: Counter[int] = Counter()

    def forget(self) -> None:
        self.most = self.now

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
