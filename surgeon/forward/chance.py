"""Random numbers that a forward asks Python's generators for: a trace would take one and keep it for ever."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from surgeon.errors import Untraceable
from surgeon.forward.alike import names_of
from surgeon.trace.graph import Graph

_DRAWING = {"uniform", "choice", "gauss", "normal", "binomial", "bernoulli"}


@contextmanager
def no_chance(record: Graph) -> Iterator[None]:
    """Inside, a forward is traced.

    Raises:
        Untraceable: it has drawn a random number.
    """
    # As a `type[Module]` it would not be hashable to mypy.
    cls: type = type(record.module)
    # Other threads draw as well: who names nothing of the kind is not asked.
    may_draw = any(name in _DRAWING or "rand" in name for name in names_of(cls))
    before = _generators() if may_draw else None
    yield
    if may_draw and _generators() != before:
        raise Untraceable(f"{record.path}: its forward draws a random number, which the trace would freeze.")


def _generators() -> tuple[object, ...]:
    """What the generators stand at: Python's, NumPy's where it is loaded, torch's on the CPU."""
    numpy = sys.modules.get("numpy")
    state = numpy.random.get_state() if numpy else ("", b"", 0)
    return random.getstate(), bytes(state[1]), state[2], bytes(torch.get_rng_state().numpy())
