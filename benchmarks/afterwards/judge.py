"""One tool, one attention, one start: what the tool does to the stock network, and what to the one with attention."""

from __future__ import annotations

import importlib.util
import random
import warnings
from collections.abc import Callable, Mapping
from functools import cache
from operator import attrgetter
from typing import Any, NamedTuple

import numpy
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

import surgeon
from benchmarks.afterwards import subject
from benchmarks.afterwards.registry import Silent, Tool
from surgeon import errors
from surgeon.attention import EXACT
from surgeon.errors import SurgeonError

AS_STOCK, REFUSED, WARNED, STOCK_FAILS, SILENT, FAILS, MISSING = WORDS = (
    "as stock",
    "refused",
    "warned",
    "stock fails too",
    "SILENT",
    "fails",
    "not installed",
)
# A tool may move the answers this far, or so many times as far as it moves those of the stock network.
SMALL, TIMES = 1e-5, 5


class Verdict(NamedTuple):
    word: str
    told: str = ""


def verdict(tool: Tool, attention: str, start: str) -> Verdict:
    """What became of the attention."""
    missing = [package for package in tool.needs if importlib.util.find_spec(package) is None]
    if missing:
        return Verdict(MISSING, ", ".join(missing))
    try:
        _of_stock(tool)
    except Exception as error:  # whatever a tool raises, the row says it
        return Verdict(STOCK_FAILS, _line(error))
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        try:
            JUDGES[tool.kind](tool, attention, start)
        except SurgeonError as error:
            return Verdict(REFUSED, _line(error))
        except (Silent, AssertionError) as error:
            told = [warning.message for warning in heard if warning.category.__module__ == errors.__name__]
            return Verdict(WARNED, _line(told[0])) if told else Verdict(SILENT, str(error) or _line(error))
        except Exception as error:
            return Verdict(FAILS, _line(error))
    return Verdict(AS_STOCK)


@cache
def _of_stock(tool: Tool) -> Any:
    """What the tool makes of the stock network; of a tool that trains, the weights after one step."""
    model = subject.stock()
    if tool.kind == "learns":
        _trained(tool, subject.stock(), 3)
        return _trained(tool, model, 1)
    return _used(tool, model)


def _seed() -> None:
    random.seed(0)
    numpy.random.seed(0)
    torch.manual_seed(0)


def _used(tool: Tool, model: nn.Module) -> Any:
    _seed()
    found = tool.does(model, subject.images())
    return found if tool.kind == "counts" else [leaf.detach().float() for leaf in tree_leaves(found)]


def _trained(tool: Tool, model: nn.Module, steps: int) -> dict[str, Tensor]:
    names = [name for name, _ in model.named_parameters()]
    _seed()
    result = tool.does(model, subject.batches(steps))
    if isinstance(result, Mapping):
        return {name: weight.detach().clone() for name, weight in result.items()}
    trained = model if result is None else result
    return {name: attrgetter(name)(trained).detach().clone() for name in names}


def _judge_answers(tool: Tool, attention: str, start: str) -> None:
    limit = SMALL + TIMES * _distance(_of_stock(tool), [_plain(subject.stock())])
    model = subject.operated(attention, start, opened=1)
    want = [_plain(model)]
    with surgeon.disabled(model):
        without = [_plain(model)]
    got = _used(tool, model)
    if _distance(got, without) < _distance(want, without) / 2:
        raise Silent("the attention does not act")
    if not _distance(got, want) <= limit:
        raise Silent(f"the answers move by {_distance(got, want):.0e}, those of stock by at most {limit:.0e}")


@torch.no_grad()
def _plain(model: nn.Module) -> Tensor:
    return model(subject.images())


def _judge_learns(tool: Tool, attention: str, start: str) -> None:
    if start in EXACT and not tool.coupled:
        want, got = _of_stock(tool), _trained(tool, subject.operated(attention, start), 1)
        other = [name for name, weight in want.items() if not torch.equal(got[name], weight)]
        if other:
            worst = max(_distance([got[name]], [want[name]]) for name in other)
            if worst > SMALL:
                raise Silent(f"{len(other)} of {len(want)} old weights take another first step, first {other[0]!r}")
    model = subject.operated(attention, start)
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    after = _trained(tool, model, 3)
    still = {name for name, weight in after.items() if name in before and torch.equal(weight, before[name])}
    still -= _still_in_stock(tool)
    if still:
        raise Silent(f"{len(still)} of {len(after)} weights do not move, first {min(still)!r}")
    if not all(weight.isfinite().all() for weight in after.values()):
        raise Silent("weights become infinite")


@cache
def _still_in_stock(tool: Tool) -> frozenset[str]:
    """What the tool leaves as it is in the stock network."""
    before = dict(subject.stock().named_parameters())
    after = _of_stock(tool)
    return frozenset(name for name, weight in after.items() if name in before and torch.equal(weight, before[name]))


def _judge_looks(tool: Tool, attention: str, start: str) -> None:
    if start in EXACT:
        distance = _distance(_used(tool, subject.operated(attention, start)), _of_stock(tool))
        if not distance <= SMALL:
            raise Silent(f"at the start it finds something else, by {distance:.0e}")
    _judge_acts(tool, attention, start)


def _judge_acts(tool: Tool, attention: str, start: str) -> None:
    one, other = (_used(tool, subject.operated(attention, start, opened=seed)) for seed in (1, 2))
    if not all(leaf.isfinite().all() for leaf in one):
        raise Silent("the result is not finite")
    if not _distance(one, other) > 1e-3:
        raise Silent("the attention does not act")


def _judge_counts(tool: Tool, attention: str, start: str) -> None:
    before, after = _of_stock(tool), _used(tool, subject.operated(attention, start))
    if not after > before:
        raise Silent(f"counts {after:g}, and {before:g} for the stock network")


JUDGES: dict[str, Callable[[Tool, str, str], None]] = {
    "answers": _judge_answers,
    "learns": _judge_learns,
    "looks": _judge_looks,
    "acts": _judge_acts,
    "counts": _judge_counts,
}


def _distance(found: list[Tensor], want: list[Tensor]) -> float:
    """How far two lists of tensors are apart, as a share of the second; infinite where they can't be compared."""
    if [leaf.shape for leaf in found] != [leaf.shape for leaf in want]:
        return float("inf")
    apart = [((a.float() - b.float()).norm() / b.float().norm().clamp(min=1e-12)).item() for a, b in zip(found, want)]
    return max(apart, key=lambda share: float("inf") if share != share else share)


def _line(error: BaseException) -> str:
    """The first line of a message that says something, with the error's type where it is not surgeon's own."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [""]
    name = "" if type(error).__module__ == errors.__name__ else f"{type(error).__name__}: "
    return (name + lines[0])[:240]
