"""Building a network whose weights are replaced at once: no random numbers drawn, no memory touched.

Not torch's `meta` device: several constructors compute with real numbers, tables that are no part of
the state dict would stay without values, and tied weights would come apart.
"""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from surgeon.outside.torch import TRUNCATED, OpOverload, TorchDispatchMode, operator_name

RANDOM = {"aten::normal_", "aten::uniform_", "aten::bernoulli_.float", "aten::random_"}


class _SkipInit(TorchDispatchMode):
    """Leaves out whatever would fill a parameter in place. An untouched page of memory costs nothing."""

    def __torch_dispatch__(
        self, call: OpOverload, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        name = operator_name(call)
        # `weight.data.normal_()` reaches this as a plain tensor, hence the list of names.
        if name.endswith("_") and args and (isinstance(args[0], nn.Parameter) or name in RANDOM):
            return args[0]
        return call(*args, **(kwargs or {}))


@contextmanager
def skip_init(wanted: bool = True) -> Iterator[None]:
    """A context in which constructors leave their weights unfilled; without effect unless `wanted`."""
    if not wanted:
        yield
        return
    with _unfilled_truncated_normals(), _SkipInit():
        yield


# The threads that skip the filling just now, each as often as it does, and torch's own function.
_skipping: list[int] = []
_lock = threading.Lock()
_fill = getattr(nn.init, TRUNCATED)


@contextmanager
def _unfilled_truncated_normals() -> Iterator[None]:
    """Newer torch draws truncated normals until all lie inside, which unfilled memory never does.

    The function belongs to the whole process: in other threads it fills as ever.
    """
    thread = threading.get_ident()
    with _lock:
        _skipping.append(thread)
        setattr(nn.init, TRUNCATED, _fill_elsewhere)
    try:
        yield
    finally:
        with _lock:
            _skipping.remove(thread)
            if not _skipping:
                setattr(nn.init, TRUNCATED, _fill)


def _fill_elsewhere(tensor: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    return tensor if threading.get_ident() in _skipping else _fill(tensor, *args, **kwargs)
