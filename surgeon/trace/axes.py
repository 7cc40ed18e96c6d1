"""Which axis of a value counts channels, followed from operator to operator.

Shapes alone can't say it: a map of 56 channels and 56 x 56 pixels looks the same in NCHW and NHWC.
"""

_FIRST = ("conv", "batch_norm", "instance_norm", "group_norm", "pool", "interpolate", "upsample", "pixel_", "grid_sample")
_LAST = ("linear", "layer_norm", "rms_norm")
# Operators that lay the same numbers in another order.
MOVES = {"permute", "transpose", "swapaxes", "swapdims", "movedim", "moveaxis"}
# Operators that change how many channels or pixels there are, and not which axis counts them.
RESIZES = {"cat", "getitem", "chunk", "split", "tensor_split", "narrow"}
# Operators that may take an axis away.
REDUCES = ("sum", "mean", "amax", "amin")
VIEWS = {"view", "reshape", "flatten", "unflatten", "squeeze", "unsqueeze"}


def channel_axis(op, args, kwargs, inputs, shape):
    """The channel axis of a new value of `shape`, or None.

    Args:
        op: plain name of the operator that made it.
        args, kwargs: as the operator was called.
        inputs: Values of the tensors among them.
    """
    rank = len(shape)
    known = next((value for value in inputs if value.axis is not None), None)
    if op == "linear" and known and rank > 2 and known.axis < len(known.shape) - 1 and not known.fixed:
        return known.axis  # tokens that were laid last are mixed, channels are not
    if op.startswith(_LAST):
        return rank - 1
    if op.startswith(_FIRST[:1]) or any(part in op for part in _FIRST[1:]):
        return 1 if rank > 2 else None
    if known is None:
        return None
    if op in MOVES:
        return _moved(op, args[1:], kwargs, known)
    if op in VIEWS:
        return _reshaped(known, shape)
    if op in ("stack", *REDUCES):
        return _stacked(op, args[1:], kwargs, known, rank)
    alike = (v.axis for v in inputs if v.axis is not None and len(v.shape) == rank and v.shape[v.axis] == shape[v.axis])
    joined = (v.axis for v in inputs if v.axis is not None and len(v.shape) == rank and op in RESIZES)
    return next((axis for axis in (*alike, *joined)), None)


def _moved(op, dims, kwargs, value):
    """Where the channel axis goes when axes are permuted."""
    rank = len(value.shape)
    dims = kwargs.get("dims", dims) or (kwargs.get("dim0"), kwargs.get("dim1"))
    dims = dims[0] if len(dims) == 1 and not isinstance(dims[0], int) else dims
    if op.startswith("move") or any(not isinstance(dim, int) for dim in dims):
        return None
    dims = [dim % rank for dim in dims]
    if op == "permute":
        return dims.index(value.axis)
    first, second = dims
    return {first: second, second: first}.get(value.axis, value.axis)


def _stacked(op, rest, kwargs, value, rank):
    """Where the channel axis is after an axis was put in front of it, or taken away (branches summed in parallel)."""
    dim = kwargs.get("dim", rest[0] if rest else 0 if op == "stack" else None)
    if rank == len(value.shape) and dim != value.axis:
        return value.axis
    if not isinstance(dim, int) or abs(rank - len(value.shape)) != 1 or (op != "stack" and dim % len(value.shape) == value.axis):
        return None
    step = 1 if op == "stack" else -1
    return value.axis + step if dim % max(rank, len(value.shape)) <= value.axis else value.axis


def _reshaped(value, shape):
    """Channels stay countable when they are outermost or innermost and their number stays."""
    if value.axis == len(value.shape) - 1 and shape and shape[-1] == value.shape[-1]:
        return len(shape) - 1
    if value.axis == 1 and len(shape) > 1 and shape[:2] == value.shape[:2]:
        return 1
    # Channels split into groups and joined again (a shuffle), in front of pixels that stay where they are.
    if value.axis < len(value.shape) - 2 and len(shape) > 3 and (shape[0], *shape[-2:]) == (value.shape[0], *value.shape[-2:]):
        return 1
    return None
