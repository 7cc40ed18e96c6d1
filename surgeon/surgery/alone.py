"""One operation at a time on one model, whichever threads they come from."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from surgeon.errors import BadModel

_LOCK = threading.Lock()
_UNDER_WAY: set[nn.Module] = set()


@contextmanager
def alone(model: nn.Module) -> Iterator[None]:
    """Inside, no other operation on `model`, on a part of it or on what it is a part of, begins.

    Raises:
        BadModel: one is under way.
    """
    modules = set(model.modules()) if isinstance(model, nn.Module) else set()
    with _LOCK:
        if not _UNDER_WAY.isdisjoint(modules):
            raise BadModel(f"another operation on this {type(model).__name__} is under way in another thread: wait until it has ended.")
        _UNDER_WAY.update(modules)
    try:
        yield
    finally:
        with _LOCK:
            _UNDER_WAY.difference_update(modules)
