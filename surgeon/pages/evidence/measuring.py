"""What attention takes on this machine: time and memory, in total and of each gate inside a run of the network."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median, quantiles
from typing import TYPE_CHECKING, Any

import torch

from surgeon.attention import attention_modules, disabled
from surgeon.errors import BadInput
from surgeon.networks.samples import natural, on_device
from surgeon.outside.torch import tree_leaves
from surgeon.pages.evidence.costs import ROUNDS, judging, metered, peak, rounds_of, synchronized
from surgeon.pages.evidence.machine import machine
from surgeon.pages.evidence.scoring import Variant
from surgeon.trace.inputs import Arguments

if TYPE_CHECKING:
    from torch import nn

    from surgeon.attention import Gate

Progress = Callable[[int], object]


@dataclass(frozen=True)
class Cost:
    """milliseconds: of one gate in a run, the median. share: of that run. memory: bytes that it makes, at its peak."""

    milliseconds: float
    share: float
    memory: int


@dataclass(frozen=True)
class Measured:
    """What a network with attention takes, and the same with that attention switched off.

    milliseconds: (off, on), medians of runs in turn. slower: by which share a run with attention takes longer than the
    one without beside it, the median; middle: the middle half of these shares.
    memory: (off, on), most bytes of maps at one time.
    sites: path of each gate -> its Cost. machine, example, rounds: what ran, on what, how often.
    """

    milliseconds: tuple[float, float]
    slower: float
    middle: tuple[float, float]
    memory: tuple[int, int]
    sites: dict[str, Cost]
    machine: str
    example: str
    rounds: int


class _Run(Variant):
    """A network that is called with arguments of its own."""

    def run(self, given: Any) -> Any:
        return self.model(*given.args, **given.kwargs)

    def placed(self, images: Any) -> Any:
        return Arguments(*on_device(images, self.model))


def measured(
    model: nn.Module,
    example: Arguments | None = None,
    *,
    paths: Sequence[str] | None = None,
    rounds: int = ROUNDS,
    progress: Progress = lambda rounds: None,
) -> Measured:
    """Run `model` on its example, with its attention and without; it is as it was afterwards.

    Args:
        example: what it is called with; one image of noise, of the size that it was made for, if not given.
        paths: of the gates that count; all if not given.
        rounds: runs that are timed, after one that is not.
        progress: called with a number of runs that are done.

    Raises:
        BadInput: its weights are on meta, or nobody knows what it runs on.
    """
    if any(weight.is_meta for weight in model.parameters()):
        raise BadInput(f"this {type(model).__name__} has no weights, only shapes: it can't be measured.")
    gates = {path: gate for path, gate in attention_modules(model).items() if paths is None or path in paths}
    given = on_device(example, model) if example is not None else Arguments((natural(model),), {})
    off, on = _Run(model, lambda: disabled(model, *gates)), _Run(model)
    without, with_all = rounds_of((off, on), given, rounds=rounds, progress=progress)
    slower = [there / here - 1 for here, there in zip(without, with_all)]
    low, _, high = quantiles(slower, n=4, method="inclusive") if rounds > 1 else slower * 3
    memory = peak(off, given), peak(on, given)
    progress(2)
    sites = _sites(on, gates, given, rounds, progress)
    times = median(without), median(with_all)
    return Measured(times, median(slower), (low, high), memory, sites, machine(on.device), _told(given), rounds)


def steps(rounds: int = ROUNDS) -> int:
    """How many runs `measured` makes, as it tells `progress`."""
    return 3 * (rounds + 1) + 3


def _told(given: Arguments) -> str:
    """What it was called with, as shapes with their types."""
    tensors = [leaf for leaf in tree_leaves(tuple(given)) if isinstance(leaf, torch.Tensor)]
    shapes = (f"{' × '.join(map(str, one.shape))} {str(one.dtype).removeprefix('torch.')}" for one in tensors)
    return ", ".join(shapes)


@torch.no_grad()
def _sites(run: _Run, gates: dict[str, Gate], given: Arguments, rounds: int, progress: Progress) -> dict[str, Cost]:
    """Each gate by itself, while the network runs around it."""
    times: dict[str, list[float]] = {path: [] for path in gates}
    shares: dict[str, list[float]] = {path: [] for path in gates}
    with judging([run]):
        for number in range(rounds + 1):
            took: dict[str, float] = dict.fromkeys(gates, 0.0)
            with _clocked(gates, run.device, took):
                start = synchronized(run.device)
                run(given)
                whole = synchronized(run.device) - start
            progress(1)
            for path in gates if number else ():
                times[path].append(1000 * took[path])
                shares[path].append(took[path] / whole)
        made = _made(run, gates, given)
        progress(1)
    return {path: Cost(median(times[path]), median(shares[path]), made[path]) for path in gates}


@contextmanager
def _clocked(gates: dict[str, Gate], device: torch.device, took: dict[str, float]) -> Iterator[None]:
    """Inside, each gate's seconds are added up."""
    began: dict[str, float] = {}

    def start(path: str) -> None:
        began[path] = synchronized(device)

    def stop(path: str) -> None:
        took[path] += synchronized(device) - began[path]

    with _hooked(gates, start, stop):
        yield


def _made(run: _Run, gates: dict[str, Gate], given: Arguments) -> dict[str, int]:
    """By how many bytes memory rises inside each gate, at most."""
    before: dict[str, int] = {}
    made = dict.fromkeys(gates, 0)

    def start(path: str) -> None:
        before[path] = meter.now
        meter.forget()

    def stop(path: str) -> None:
        made[path] = max(made[path], meter.most - before[path])

    with metered(run.device) as meter, _hooked(gates, start, stop):
        run(given)
    return made


@contextmanager
def _hooked(gates: dict[str, Gate], start: Callable[[str], None], stop: Callable[[str], None]) -> Iterator[None]:
    handles = []
    for path, gate in gates.items():
        handles.append(gate.register_forward_pre_hook(lambda module, inputs, path=path: start(path)))
        handles.append(gate.register_forward_hook(lambda module, inputs, output, path=path: stop(path)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
