"""What the axes of an operator's results count, by what those of its inputs do."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor

from surgeon.trace.axes import MOVES, VIEWS
from surgeon.trace.pixels import Axes, Axis, Shape, a_side, counts_pixels, cut, joined_on, viewed

if TYPE_CHECKING:
    from surgeon.trace.graph import Value


@dataclass(frozen=True)
class Step:
    """One call of an operator: its plain name, its arguments, the Values of the tensors among them, its results."""

    op: str
    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    inputs: Sequence[Value]
    shapes: Sequence[Shape]

    def argument(self, place: int, *names: str, default: Any = None) -> Any:
        """The argument at a place, or by one of its names."""
        by_name = next((self.kwargs[name] for name in names if name in self.kwargs), default)
        return self.args[place] if place < len(self.args) else by_name

    @property
    def first(self) -> Value:
        return self.inputs[0]


def counted(step: Step) -> list[Axes]:
    """The axes of each result of a step."""
    if step.op.startswith("conv") and step.shapes and not step.first.fixed:
        return [_convolved(step.first, shape) for shape in step.shapes]
    if not any(counts_pixels(axis) for value in step.inputs for axis in value.counts):
        return [unknown(shape) for shape in step.shapes]
    try:
        found = _RULES.get(step.op, _pointwise)(step)
    except (TypeError, ValueError, IndexError):  # called in a way that the rule doesn't know
        found = []
    fits = [len(axes) == len(shape) for axes, shape in zip(found, step.shapes)]
    return found if len(fits) == len(step.shapes) and all(fits) else [unknown(shape) for shape in step.shapes]


def unknown(shape: Shape) -> Axes:
    return (None,) * len(shape)


def of_input(shape: Shape) -> Axes:
    """The axes of what a network is given: an image or a clip has sides, all else has none."""
    return (None, None, *map(a_side, shape[2:])) if len(shape) in (4, 5) else unknown(shape)


def _pointwise(step: Step) -> list[Axes]:
    """Results whose axes are those of the inputs, aligned from the right; a side of another length is a new map's."""
    return [_spread(step.inputs, shape) for shape in step.shapes]


def _spread(inputs: Sequence[Value], shape: Shape) -> Axes:
    first = inputs[0]
    if first.shape == shape and any(map(counts_pixels, first.counts)):
        return first.counts
    return tuple(_spread_at(inputs, len(shape) - at, shape[at], len(shape)) for at in range(len(shape)))


def _spread_at(inputs: Sequence[Value], back: int, length: int, rank: int) -> Axis | None:
    """The axis that is `back` from the end: that of the first input which counts pixels there."""
    there = [(v.counts[-back], v.shape[-back]) for v in inputs if len(v.shape) >= back and not v.fixed]
    same = [axis for axis, size in there if size == length and axis is not None]
    axis = next(filter(counts_pixels, same), same[0] if same else None)
    first = inputs[0]
    if axis is None and len(first.shape) == rank and _is_one_side(first.counts[-back]):
        return a_side(length)
    return axis


def _is_one_side(axis: Axis | None) -> bool:
    return axis is not None and axis.is_plain and len(axis.parts) == 1


def _convolved(value: Value, shape: Shape) -> Axes:
    """A convolution over two or three axes makes a map of its own, of the same sides where it keeps their lengths."""
    if len(shape) != len(value.shape) or len(shape) < 3:
        return unknown(shape)
    axes = _spread([value], shape)
    if len(shape) == 3:
        return (axes[0], None, axes[2])
    return (axes[0], None, *(axis if counts_pixels(axis) else a_side(side) for axis, side in zip(axes[2:], shape[2:])))


def _linear(step: Step) -> list[Axes]:
    return [(*step.first.counts[:-1], None)]


def _lost(step: Step) -> list[Axes]:
    return [unknown(shape) for shape in step.shapes]


def _viewed(step: Step) -> list[Axes]:
    return [viewed(step.first.counts, step.first.shape, shape) for shape in step.shapes]


def _moved(step: Step) -> list[Axes]:
    """The axes of the input in another order."""
    rank, axes = len(step.first.shape), list(step.first.counts)
    if step.op == "permute":
        dims = step.argument(1, "dims")
        order = step.args[1:] if isinstance(dims, int) else dims
        return [tuple(axes[dim % rank] for dim in order)]
    one, other = step.argument(1, "dim0", "axis0", "source"), step.argument(2, "dim1", "axis1", "destination")
    if step.op.startswith("move"):
        axes.insert(other % rank, axes.pop(one % rank))
    else:
        axes[one % rank], axes[other % rank] = axes[other % rank], axes[one % rank]
    return [tuple(axes)]


def _matmul(step: Step) -> list[Axes]:
    """Rows of the first, columns of the second."""
    one, other = step.inputs[:2]
    (shape,) = step.shapes
    if len(one.shape) < 2 or len(other.shape) < 2:
        return _lost(step)
    return [(*_spread([one, other], shape)[:-2], one.counts[-2], other.counts[-1])]


def _attended(step: Step) -> list[Axes]:
    """As many rows as there are queries."""
    query, _, value = step.inputs[:3]
    return [(*query.counts[:-1], value.counts[-1])]


def _attended_whole(step: Step) -> list[Axes]:
    """torch's own multi-head attention: what the queries are, and a table of weights."""
    return [step.first.counts, *map(unknown, step.shapes[1:])]


def _einsum(step: Step) -> list[Axes]:
    taken, _, given = step.args[0].replace(" ", "").partition("->")
    known: dict[str, Axis | None] = {}
    for letters, value in zip(taken.split(","), step.inputs, strict=True):
        for letter, axis in zip(letters, value.counts, strict=True):
            known[letter] = known.get(letter) or axis
    return [tuple(known[letter] for letter in given)]


def _indexed(step: Step) -> list[Axes]:
    """Some of the entries; whole axes are taken out by numbers and put in by None."""
    index = step.args[1] if isinstance(step.args[1], tuple) else (step.args[1],)
    if any(item is not None and item is not Ellipsis and type(item) not in (int, slice) for item in index):
        return _lost(step)
    named = sum(item is not None and item is not Ellipsis for item in index)
    rest = (slice(None),) * (len(step.first.shape) - named)
    at = index.index(Ellipsis) if Ellipsis in index else len(index)
    old = iter(zip(step.first.counts, step.first.shape))
    found: list[Axis | None] = []
    for item in (*index[:at], *rest, *index[at + 1 :]):
        if item is None:
            found.append(None)
            continue
        axis, length = next(old)
        if isinstance(item, slice):
            start, stop, stride = item.indices(length)
            found.append(cut(axis, length, start, len(range(start, stop, stride)), stride))
    return [tuple(found)]


def _split(step: Step) -> list[Axes]:
    """Pieces along one axis, one behind the other."""
    value, start, found = step.first, 0, []
    dim = step.argument(2, "dim", default=0) % len(value.shape)
    for shape in step.shapes:
        piece = cut(value.counts[dim], value.shape[dim], start, shape[dim])
        found.append((*value.counts[:dim], piece, *value.counts[dim + 1 :]))
        start += shape[dim]
    return found


def _narrowed(step: Step) -> list[Axes]:
    value, (shape,) = step.first, step.shapes
    dim = step.argument(1, "dim") % len(value.shape)
    piece = cut(value.counts[dim], value.shape[dim], step.argument(2, "start"), shape[dim])
    return [(*value.counts[:dim], piece, *value.counts[dim + 1 :])]


def _dropped(step: Step) -> list[Axes]:
    """One axis less, as often as there are results (unbind, select)."""
    dim = step.argument(1, "dim", default=0) % len(step.first.shape)
    return [(*step.first.counts[:dim], *step.first.counts[dim + 1 :]) for _ in step.shapes]


def _reduced(step: Step) -> list[Axes]:
    """Axes taken away, or left with one entry."""
    dims = step.argument(1, "dim", "axis")
    if isinstance(dims, Tensor):  # the larger of two
        return _pointwise(step)
    value, rank = step.first, len(step.first.shape)
    gone = {dim % rank for dim in ([dims] if isinstance(dims, int) else dims)}
    if len(step.shapes[0]) == rank:
        return [tuple(None if at in gone else axis for at, axis in enumerate(value.counts)) for _ in step.shapes]
    return [tuple(axis for at, axis in enumerate(value.counts) if at not in gone) for _ in step.shapes]


def _stacked(step: Step) -> list[Axes]:
    (shape,) = step.shapes
    dim = step.argument(1, "dim", default=0) % len(shape)
    axes = _spread(step.inputs, step.first.shape)
    return [(*axes[:dim], None, *axes[dim:])]


def _joined(step: Step) -> list[Axes]:
    (shape,) = step.shapes
    dim = step.argument(1, "dim", "axis", default=0) % len(shape)
    axis = joined_on([(value.counts[dim], value.shape[dim]) for value in step.inputs])
    if any(_is_one_side(value.counts[dim]) for value in step.inputs) and len(shape) > 3:
        axis = a_side(shape[dim])
    return [(*(axis if at == dim else found for at, found in enumerate(_spread(step.inputs, shape))),)]


def _unfolded(step: Step) -> list[Axes]:
    """The patches around each pixel, in a row; of `Tensor.unfold` nothing is known."""
    (shape,), value = step.shapes, step.first
    if len(value.shape) != 4 or len(shape) != 3:
        return _lost(step)
    kernel, dilation = _pair(step.argument(1, "kernel_size")), _pair(step.argument(2, "dilation", default=1))
    padding, stride = _pair(step.argument(3, "padding", default=0)), _pair(step.argument(4, "stride", default=1))
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilation)]
    rows, columns = ((n + 2 * p - r) // s + 1 for n, p, r, s in zip(value.shape[2:], padding, reach, stride))
    if kernel == tuple(reach) == stride and padding == (0, 0):
        return [_cut_up(value, (rows, columns), kernel)]
    return [(value.counts[0], None, Axis((*a_side(rows).parts, *a_side(columns).parts)))]


def _cut_up(value: Value, grid: tuple[int, int], patch: tuple[int, int]) -> Axes:
    """What is cut into patches that neither overlap nor leave a gap: the pixels of each behind the channels."""
    batch, channels, *_ = value.shape
    (rows, columns), (height, width) = grid, patch
    cut = (batch, channels, rows, height, columns, width)
    axes = viewed(value.counts, value.shape, cut)
    order = (0, 1, 3, 5, 2, 4)
    shape = (batch, channels * height * width, rows * columns)
    return viewed(tuple(axes[at] for at in order), tuple(cut[at] for at in order), shape)


def _pair(number: Any) -> tuple[int, int]:
    return (number, number) if isinstance(number, int) else tuple(number)


def _folded(step: Step) -> list[Axes]:
    return [(step.first.counts[0], None, *map(a_side, shape[2:])) for shape in step.shapes]


# What picks entries by their values, or looks them up: the result has nothing of the input's order.
_PICKING = (
    "embedding", "gather", "take_along_dim", "index_select", "masked_select", "sort", "argsort", "topk", "nonzero",
    "unique", "multinomial", "scatter", "scatter_add", "index_add", "index_copy",
)  # fmt: skip
_REDUCING = ("sum", "mean", "amax", "amin", "max", "min", "std", "var", "prod", "norm", "logsumexp", "all", "any")
_RULES: dict[str, Callable[[Step], list[Axes]]] = {
    **dict.fromkeys(MOVES, _moved),
    **dict.fromkeys((*VIEWS, "view_as", "reshape_as", "ravel"), _viewed),
    **dict.fromkeys(("matmul", "bmm"), _matmul),
    **dict.fromkeys(_REDUCING, _reduced),
    **dict.fromkeys(("chunk", "split", "tensor_split", "split_with_sizes"), _split),
    **dict.fromkeys(("unbind", "select"), _dropped),
    **dict.fromkeys(("cat", "concat", "concatenate"), _joined),
    **dict.fromkeys((*_PICKING, "argmax", "argmin"), _lost),
    "scaled_dot_product_attention": _attended,
    "multi_head_attention_forward": _attended_whole,
    "einsum": _einsum,
    "getitem": _indexed,
    "narrow": _narrowed,
    "stack": _stacked,
    "linear": _linear,
    "unfold": _unfolded,
    "fold": _folded,
}
