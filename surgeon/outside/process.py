"""What concerns the whole process, and what looks as if it did: done so that no other thread notices, or only once."""

from __future__ import annotations

import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from contextvars import ContextVar
from typing import Any, TextIO

Making = Callable[[], AbstractContextManager[Any]]

_lock = threading.Lock()
_inside: dict[Making, int] = {}
_leaving: dict[Making, ExitStack] = {}


@contextmanager
def shared(make: Making) -> Iterator[None]:
    """Inside, what `make` makes is entered: by the first thread that comes, and left by the last that goes.

    Two threads that each put back what they found would put back what the other had set.
    """
    with _lock:
        if not _inside.get(make):
            _leaving[make] = ExitStack()
            _leaving[make].enter_context(make())
        _inside[make] = _inside.get(make, 0) + 1
    try:
        yield
    finally:
        with _lock:
            _inside[make] -= 1
            if not _inside[make]:
                _leaving.pop(make).close()


_is_quiet: ContextVar[bool] = ContextVar("_is_quiet", default=False)


class _InQuiet(type):
    def __subclasscheck__(cls, kind: type) -> bool:
        return _is_quiet.get()


class Muted(Warning, metaclass=_InQuiet):
    """Stands for every warning in a thread that is quiet, and for none elsewhere."""


@contextmanager
def quiet() -> Iterator[None]:
    """Inside, warnings of this thread are dropped.

    `warnings.catch_warnings` would drop those of all threads, and of two that overlap the second would leave it so.
    """
    # Where it stands first already, nothing changes: each change makes Python repeat warnings that it has shown.
    if not warnings.filters or warnings.filters[0][2] is not Muted:
        warnings.simplefilter("ignore", Muted)
    token = _is_quiet.set(True)
    try:
        yield
    finally:
        _is_quiet.reset(token)


@contextmanager
def silent() -> Iterator[None]:
    """Inside, warnings of this thread are dropped, and what it prints."""
    with quiet(), shared(_listening):
        yield


@contextmanager
def _listening() -> Iterator[None]:
    """Inside, what is printed passes one who drops it if it comes from a thread that is quiet."""
    streams = {"stdout": sys.stdout, "stderr": sys.stderr}
    ears = {name: _Ear(stream) for name, stream in streams.items()}
    vars(sys).update(ears)
    try:
        yield
    finally:
        # Unless somebody has put another in place meanwhile.
        vars(sys).update({name: streams[name] for name, ear in ears.items() if getattr(sys, name) is ear})


class _Ear:
    """A stream that drops what quiet threads write to it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        return len(text) if _is_quiet.get() else self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
