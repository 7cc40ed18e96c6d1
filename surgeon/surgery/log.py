"""A log of gates over training: how far each has opened, and what it decides."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch
from torch import nn
from torch.optim import Optimizer

from surgeon.attention import Gate, attention_modules
from surgeon.attention.gate import Maps
from surgeon.attention.opened import opened
from surgeon.attention.options import whole
from surgeon.errors import BadFile, BadModel

COLUMNS = ("opened", "gamma", "channel_mean", "channel_spread", "spatial_mean", "spatial_spread")


class Writer(Protocol):
    """What takes one number at a time: torch.utils.tensorboard's SummaryWriter, or anything that is called alike."""

    def add_scalar(self, tag: str, scalar_value: float, global_step: int) -> object: ...


class GateLog:
    """Writes down each gate of `model` every so many steps of training.

    Of each: by what share it changes a map of noise (`opened`), its gamma if it has one, and mean and spread
    (standard deviation) of the factors for channels and for positions in the forward passes of that step.

    Args:
        to: a CSV file, a row for each gate and step, added to what is there already; or a SummaryWriter of
            TensorBoard's (Lightning's `logger.experiment`).
        every: how many steps lie between two entries.
        optimizer: where the loop is somebody else's (Lightning, timm's script), the optimizer that it steps: each of
            its steps is one here. Without it call `step` after `optimizer.step()`.

    Raises:
        BadModel: there is no attention. BadFile: the file can't be written, or has other columns.

    >>> log = surgeon.GateLog(model, "gates.csv", every=100)
    >>> log.step()  # after each optimizer.step()
    """

    def __init__(
        self,
        model: nn.Module,
        to: str | PathLike[str] | Writer,
        *,
        every: int = 100,
        optimizer: Optimizer | None = None,
    ) -> None:
        self.every = whole("every", every)
        self.steps = 0
        self._model = model
        self._listened: dict[str, _Listened] = {}
        if not attention_modules(model):
            raise BadModel("there is no attention here to log: surgeon.inject puts some in.")
        self._write = _csv(Path(to)) if isinstance(to, (str, PathLike)) else _scalars(to)
        self._listen()
        if optimizer is not None:
            optimizer.register_step_post_hook(lambda *_: self.step())

    def step(self) -> None:
        """One step of training is over."""
        self.steps += 1
        if self.steps % self.every == 0 and _is_first():
            rows = dict(self._rows())
            self._write(self.steps, rows)
        self._listen()

    def _listen(self) -> None:
        """Let gates keep the scores of the next step, if that will be written down, and of no other."""
        gates = attention_modules(self._model)
        for path, listened in self._listened.items():
            if listened.is_own and path in gates and gates[path].maps is listened.maps:
                gates[path].maps = None
        is_next = (self.steps + 1) % self.every == 0
        self._listened = {path: _listened(gate) for path, gate in gates.items()} if is_next else {}

    def _rows(self) -> Iterator[tuple[str, dict[str, float]]]:
        shares = opened(self._model)
        for path, gate in attention_modules(self._model).items():
            noted = self._listened[path].noted if path in self._listened else {}
            known = {"opened": shares[path], "gamma": _gamma(gate), **_scores(noted)}
            yield path, {name: value for name, value in known.items() if value is not None}


class _Listened(NamedTuple):
    """Where a gate notes its scores, how many were there before, and whether it does so for this log."""

    maps: Maps
    before: dict[str, int]
    is_own: bool

    @property
    def noted(self) -> Maps:
        return {name: tensors[self.before.get(name, 0) :] for name, tensors in self.maps.items()}


def _listened(gate: Gate) -> _Listened:
    """Let a gate note its scores; where it does so for somebody else already, theirs are read."""
    is_own = gate.maps is None
    if gate.maps is None:
        gate.maps = {}
    return _Listened(gate.maps, {name: len(tensors) for name, tensors in gate.maps.items()}, is_own)


def _gamma(gate: Gate) -> float | None:
    """The mean of a gate's gammas, those that a module inside may have of its own left out."""
    named = gate.named_parameters()
    found = [w for name, w in named if name.rpartition(".")[2] == "gamma" and not name.startswith("inner.")]
    return float(torch.cat([weight.detach().flatten() for weight in found]).mean()) if found else None


def _scores(noted: Maps) -> dict[str, float]:
    """Mean and spread of the factors that a gate has noted."""
    found = {}
    for name, tensors in noted.items():
        if not tensors:
            continue
        scores = torch.cat([scores.float().flatten() for scores in tensors])
        found[f"{name}_mean"] = float(scores.mean())
        found[f"{name}_spread"] = float(scores.std(correction=0))
    return found


def _is_first() -> bool:
    """Whether this process writes: of several that train together the first one alone."""
    several = torch.distributed.is_available() and torch.distributed.is_initialized()
    return not several or torch.distributed.get_rank() == 0


def _csv(path: Path) -> Any:
    header = ["step", "gate", *COLUMNS]
    try:
        if path.exists() and path.stat().st_size:
            with path.open(newline="", encoding="utf-8") as opened:
                there = next(csv.reader(opened), [])
            if there != header:
                raise BadFile(f"{path} is there and is no log of gates: it begins with {','.join(there)[:60]!r}.")
        else:
            _append(path, [header])
    except OSError as error:
        raise BadFile(f"{path} can't be written: {error.strerror}.") from None

    def write(step: int, gates: Mapping[str, Mapping[str, float]]) -> None:
        _append(path, [[step, gate, *(known.get(name, "") for name in COLUMNS)] for gate, known in gates.items()])

    return write


def _append(path: Path, rows: list[list[Any]]) -> None:
    with path.open("a", newline="", encoding="utf-8") as opened:
        csv.writer(opened).writerows(rows)


def _scalars(writer: Writer) -> Any:
    def write(step: int, gates: Mapping[str, Mapping[str, float]]) -> None:
        for gate, known in gates.items():
            for name, value in known.items():
                writer.add_scalar(f"{gate}/{name}", value, step)

    return write
