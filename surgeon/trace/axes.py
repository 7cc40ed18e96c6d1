"""Which axis of a value counts channels, followed from operator to operator.

Shapes alone can't say it: a map of 56 channels and 56 x 56 pixels looks the same in NCHW and NHWC.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from surgeon.trace.graph import Value

# Operators whose results have channels first (the first of these by the start of their names), and last.
_FIRST_BY_PREFIX = "conv"
_FIRST = ("batch_norm", "instance_norm", "group_norm", "pool", "interpolate", "upsample", "pixel_", "grid_sample")
_LAST = ("linear", "layer_norm", "rms_norm")
# Operators that put the axes in another order.
MOVES = {"permute", "transpose", "swapaxes", "swapdims", "movedim", "moveaxis"}
# Operators that change how many channels or pixels there are, and not which axis counts them.
RESIZES = {"cat", "getitem", "chunk", "split", "tensor_split", "narrow"}
# Operators that may take an axis away.
REDUCES = ("sum", "mean", "amax", "amin")
VIEWS = {"view", "reshape", "flatten", "unflatten", "squeeze", "unsqueeze"}

Shape = tuple[int, ...]


class _Known(NamedTuple):
    """A value whose channel axis is known."""

    shape: Shape
    axis: int
    fixed: bool

    @property
    def rank(self) -> int:
        return len(self.shape)


def channel_axis(
    op: str, args: Sequence[Any], kwargs: Mapping[str, Any], inputs: Sequence[Value], shape: Shape
) -> int | None:
    """The channel axis of a new value of `shape`, or None.

    Args:
        op: plain name of the operator that made it.
        args, kwargs: as the operator was called.
        inputs: Values of the tensors among them.
    """
    rank = len(shape)
    known = [_Known(value.shape, value.axis, value.fixed) for value in inputs if value.axis is not None]
    if op == "linear" and known and rank > 2 and known[0].axis < known[0].rank - 1 and not known[0].fixed:
        return known[0].axis  # tokens that were laid last are mixed, channels are not
    if op.startswith(_LAST):
        return rank - 1
    if op.startswith(_FIRST_BY_PREFIX) or any(part in op for part in _FIRST):
        return 1 if rank > 2 else None
    if not known:
        return None
    if op in MOVES:
        return _moved(op, args[1:], kwargs, known[0])
    if op in VIEWS:
        return _reshaped(known[0], shape)
    if op == "stack" or op in REDUCES:
        return _stacked(op, args[1:], kwargs, known[0], rank)
    return _kept(op, known, shape)


def _moved(op: str, dims: Sequence[Any], kwargs: Mapping[str, Any], value: _Known) -> int | None:
    """Where the channel axis goes when axes are permuted."""
    by_name = [kwargs[name] for name in ("dim0", "dim1", "axis0", "axis1") if name in kwargs]
    dims = [*kwargs.get("dims", dims), *by_name]
    dims = dims[0] if len(dims) == 1 and not isinstance(dims[0], int) else dims
    if op.startswith("move") or any(not isinstance(dim, int) for dim in dims):
        return None
    axes = [dim % value.rank for dim in dims]
    if op == "permute":
        return axes.index(value.axis)
    first, second = axes
    return {first: second, second: first}.get(value.axis, value.axis)


def _stacked(op: str, rest: Sequence[Any], kwargs: Mapping[str, Any], value: _Known, rank: int) -> int | None:
    """Where the channel axis is when one axis was put in or taken away (branches that are summed in parallel)."""
    default = 0 if op == "stack" else None
    given = kwargs.get("dim", kwargs.get("axis", rest[0] if rest else default))
    dims = given if isinstance(given, (list, tuple)) else [given]
    if not dims or any(not isinstance(dim, int) for dim in dims):
        return None
    axes = [dim % max(rank, value.rank) for dim in dims]
    if op != "stack" and value.axis in axes:
        return None
    if rank == value.rank:
        return value.axis
    if len(axes) != 1 or abs(rank - value.rank) != 1:
        return None
    step = 1 if op == "stack" else -1
    return value.axis + step if axes[0] <= value.axis else value.axis


def _reshaped(value: _Known, shape: Shape) -> int | None:
    """Channels stay countable when they are outermost or innermost and their number stays."""
    if value.axis == value.rank - 1 and shape and shape[-1] == value.shape[-1]:
        return len(shape) - 1
    if value.axis == 1 and len(shape) > 1 and shape[:2] == value.shape[:2]:
        return 1
    # Channels split into groups and joined again (a shuffle), in front of pixels that stay where they are.
    outer = (value.shape[0], *value.shape[-2:])
    if value.axis < value.rank - 2 and len(shape) > 3 and (shape[0], *shape[-2:]) == outer:
        return 1
    return None


def _kept(op: str, known: Sequence[_Known], shape: Shape) -> int | None:
    """The axis of the first input with as many axes and channels; of the first with as many axes if `op` resizes."""
    alike = [value for value in known if value.rank == len(shape)]
    for value in alike:
        if value.shape[value.axis] == shape[value.axis]:
            return value.axis
    return alike[0].axis if alike and op in RESIZES else None
