"""What a forward leaves in a network's attributes: position tables, anchors, the size of the last image.

Nobody set them, so no file need hold them: a network that is built anew fills its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from surgeon.networks.equal import same
from surgeon.outside.torch import buffer_table, version
from surgeon.trace import inputs
from surgeon.trace.inputs import Arguments
from surgeon.trace.noise import dtype_of
from surgeon.trace.shapes import Shapes
from surgeon.trace.skeleton import skeleton
from surgeon.trace.state import in_mode, same_numbers

# (path of a module, name of its attribute or buffer).
Names = set[tuple[str, str]]


def left_by_a_run(model: nn.Module, example: Arguments | None = None, *, training: bool = False) -> Names:
    """The attributes and buffers of `model` that a run changes; `model` itself is not run.

    Args:
        model: as it was built; one that has run already may have nothing left to fill.
        example: what to run it on; None where surgeon has to guess.
        training: run it in training mode.
    """
    examples = [example] if example is not None else _guesses(model)
    with same_numbers():
        found, has_run = _run(model, examples, training, numbers=False)
        # A forward that computes with numbers (`.item()`, tables in plain attributes) does not run on shapes alone.
        return found if has_run else found | _run(model, examples, training, numbers=True)[0]


def _guesses(model: nn.Module) -> list[Arguments]:
    dtype = dtype_of(model)
    return [Arguments((torch.zeros(inputs.BATCH, *shape, dtype=dtype),), {}) for shape in inputs.guesses(model)]


def _run(model: nn.Module, examples: list[Arguments], training: bool, *, numbers: bool) -> tuple[Names, bool]:
    """(what the first run that succeeds changes, whether one did); of those that fail, what they changed until then."""
    device = next((tensor.device for tensor in model.parameters()), torch.device("cpu")) if numbers else "meta"
    found: Names = set()
    for example in examples:
        twin = skeleton(model, numbers=numbers)
        before = {path: _attributes(module) for path, module in twin.named_modules()}
        has_run = _runs(twin, inputs.given(example, device), training)
        changed = {
            (path, name)
            for path, module in skeleton(model, numbers=numbers).named_modules()
            for name in _changed(twin.get_submodule(path), before[path], module)
        }
        if has_run:
            return changed, True
        found |= changed
    return found, False


def _runs(twin: nn.Module, example: Arguments, training: bool) -> bool:
    try:
        with in_mode(twin, training), torch.no_grad(), Shapes():
            twin(*example.args, **example.kwargs)
        return True
    except Exception:  # anyone's forward may raise anything
        return False


def _attributes(module: nn.Module) -> dict[str, tuple[Any, int]]:
    """Name -> (attribute or buffer, how often it was written to, where it is a tensor)."""
    held = vars(module) | buffer_table(module)
    return {name: (value, _version(value)) for name, value in held.items() if name not in _BOOKS}


# What torch keeps on each module.
_BOOKS = frozenset(vars(nn.Module()))


def _version(value: Any) -> int:
    return version(value) if isinstance(value, torch.Tensor) else 0


def _changed(twin: nn.Module, old: dict[str, tuple[Any, int]], untouched: nn.Module) -> Iterator[str]:
    """The names of what is not as it was on one module of a skeleton that has run.

    Args:
        old: what it held before. untouched: the same module, which has not run: it shows what was filled in place.
    """
    now, expected = _attributes(twin), _attributes(untouched)
    for name in old.keys() | now.keys():
        if name not in old or name not in now:
            yield name
        elif isinstance(old[name][0], torch.Tensor):
            if now[name][0] is not old[name][0] or now[name][1] != old[name][1]:
                yield name
        elif not same(now[name][0], expected[name][0]):
            yield name
