"""The passes as functions with gradients: the way there and the way back, each in as few passes as can be.

Autograd alone would make a gradient of the map for each time that it is read, and add them up. Here only `Start` makes
one. The others tell it what it needs to know: each has inputs that `Start` made for it, which hold nothing, and whose
"gradient" is the message. So autograd itself brings the messages, and calls `Start` after all others, however often and
in whatever thread it runs.

All take the map itself as well, without a gradient of the first order: second derivatives need it, and forward mode.
"""

from __future__ import annotations

from math import prod
from typing import Any, Literal

import torch
from torch import Tensor

from surgeon.attention.passes import again, formulas
from surgeon.attention.passes.axes import as_channels, as_positions
from surgeon.attention.passes.capture import is_differentiated
from surgeon.attention.passes.dtypes import mean, score_dtype
from surgeon.attention.passes.kernels import Additions, Kernels, WayBack

# What is read of a map as it starts.
Read = Literal["average", "pools"]
# A value and its derivative.
Given = tuple[Any, Tensor | None]


class Maxima:
    """Where maxima were on the way there: a channel for each position (N, L), a position for each channel (N, C)."""

    channels: Tensor | None = None
    positions: Tensor | None = None
    max_first = False


class Start(torch.autograd.Function):
    """From the map (N, C, *spatial), what is read of it first, and tensors that hold nothing; back, its gradient.

    `read`: "pools", mean and maximum of each channel (N, 2, C); "average", that mean alone (N, C); or nothing.

    The others send messages: the gradient of the product; its factors of channels (N, C), of positions (N, L); the
    gradients of mean and maximum over the channels (N, 2, L), and the factors that the map had there (N, C).
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, kernels: Kernels, inside: bool, maxima: Maxima, read: Read | None) -> Any:
        ctx.kernels, ctx.inside, ctx.maxima, ctx.read = kernels, inside, maxima, read
        ctx.shape, ctx.kind = x.shape, {"dtype": x.dtype, "device": x.device}
        ctx.set_materialize_grads(False)
        found = None
        if read == "pools":
            found, maxima.positions = kernels.pools(x, True)
        elif read == "average":
            found = kernels.average(x)
        return found, *_nothing(x)

    @staticmethod
    def backward(ctx: Any, of_read: Tensor | None, g: Tensor | None, s: Tensor | None, *sent: Tensor | None) -> Any:
        t, squeezed, factors = sent
        if g is None:
            # Of the scores alone, or in a second derivative, no gradient comes by the product.
            g, s = torch.zeros(1, **ctx.kind).expand(ctx.shape), factors
        where = ctx.maxima
        pooled, averaged = (of_read, None) if ctx.read == "pools" else (None, of_read)
        more = Additions(squeezed, where.max_first, where.channels, ctx.inside, pooled, where.positions, averaged)
        return _back(ctx.kernels, g).spread(_flat(g), s, t, more).reshape(g.shape), None, None, None, None

    @staticmethod
    def jvp(ctx: Any, along: Tensor, *_: None) -> Any:
        flat = along.flatten(2)
        if ctx.read is None:
            return None, *_nothing(along)
        means = mean(flat, (2,))
        if ctx.read == "average":
            return means, *_nothing(along)
        at_peaks = flat.gather(2, ctx.maxima.positions.long()[:, :, None])[:, :, 0]
        return torch.stack((means, at_peaks.to(means.dtype)), 1), *_nothing(along)


def _nothing(x: Tensor) -> tuple[Tensor, ...]:
    """Tensors of the shapes of all messages about the map `x`, without memory of their own."""
    one, wide = x.new_empty(1), x.new_empty(1, dtype=score_dtype(x.dtype))
    images, channels, positions = *x.shape[:2], prod(x.shape[2:])
    shapes = ((images, channels), (images, positions), (images, 2, positions), (images, channels))
    return one.expand(x.shape), *(wide.expand(shape) for shape in shapes)


class Squeeze(torch.autograd.Function):
    """The mean and the maximum of `x * s` at each position (N, 2, L); `made` gets the product itself."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, s: Tensor | None, squeezed: Tensor, factors: Tensor, *rest: Any) -> Tensor:
        kernels, maxima, max_first, made = rest
        pair, channels, product = kernels.squeeze(x, s, max_first, True)
        made.append(product)
        maxima.channels, maxima.max_first = channels, max_first
        ctx.save_for_backward(x, s, channels)
        ctx.save_for_forward(x, s, channels)
        ctx.kernels, ctx.max_first = kernels, max_first
        return pair

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, s, channels = ctx.saved_tensors
        of_s = None
        if s is not None and ctx.needs_input_grad[1]:
            of_s = _back(ctx.kernels, grad).weighted(x.flatten(2), grad, ctx.max_first, channels)
        return None, of_s, grad, s, None, None, None, None

    @staticmethod
    def jvp(ctx: Any, along: Tensor | None, of_s: Tensor | None, *_: None) -> Tensor:
        x, s, channels = ctx.saved_tensors
        flat = _along((x, along), (as_channels(s, x), as_channels(of_s, x))).flatten(2)
        at_most = flat.gather(1, channels.long()[:, None])[:, 0]
        pair = (mean(flat, (1,)), at_most.to(score_dtype(x.dtype)))
        return torch.stack(pair[::-1] if ctx.max_first else pair, 1)


class Product(torch.autograd.Function):
    """`x * s * t` for factors of channels (N, C) and of positions (N, L), which may be missing."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, s: Tensor | None, t: Tensor | None, *rest: Any) -> Tensor:
        # In a list: what is no input is written into without a trace.
        *_, kernels, (made,) = rest
        ctx.save_for_backward(x, s, t)
        ctx.save_for_forward(x, s, t)
        ctx.kernels = kernels
        return kernels.product(x, s, t, made)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        x, s, t = ctx.saved_tensors
        needs = ctx.needs_input_grad[1:3]
        of_s, of_t = _back(ctx.kernels, g).sums(_flat(g), x.flatten(2), s, t, needs)
        return None, of_s, of_t, g, s, t, None, None

    @staticmethod
    def jvp(ctx: Any, along: Tensor | None, of_s: Tensor | None, of_t: Tensor | None, *_: None) -> Tensor:
        x, s, t = ctx.saved_tensors
        of_channels = (as_channels(s, x), as_channels(of_s, x))
        return _along((x, along), of_channels, (as_positions(t, x), as_positions(of_t, x)))


class Blend(torch.autograd.Function):
    """`x * (offset + factor * sigmoid(a combined with b))` for scores of channels (N, C) and of positions (N, L)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, *rest: Any) -> Tensor:
        *scores, _, kernels, how = rest
        ctx.save_for_backward(x, *scores)
        ctx.save_for_forward(x, *scores)
        ctx.kernels, ctx.how = kernels, how
        # No view, which the network could not write into.
        return kernels.blend(x.flatten(2), *scores, how).reshape(x.shape).data

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        x, a, b, offset, factor = ctx.saved_tensors
        back, flat = _back(ctx.kernels, g), _flat(g)
        acts = any(ctx.needs_input_grad[3:5])
        of_scores = back.blend_sums(flat, x.flatten(2), a, b, factor, ctx.how, acts)
        return None, *of_scores, back.blend(flat, a, b, offset, factor, ctx.how).reshape(g.shape), None, None

    @staticmethod
    def jvp(ctx: Any, along: Tensor | None, *rest: Any) -> Tensor:
        x, a, b, offset, factor = ctx.saved_tensors
        return formulas.blend_along((x, along), [*zip((a, b, offset, factor), rest)], ctx.how)


def _along(x: Given, s: Given, t: Given = (None, None)) -> Tensor:
    """The derivative of `x * s * t`, each of them given with its own."""
    terms = []
    if x[1] is not None:
        terms.append(formulas.product(x[1], s[0], t[0]))
    if s[1] is not None:
        terms.append(formulas.product(x[0], s[1], t[0]))
    if t[1] is not None:
        terms.append(formulas.product(x[0], s[0], t[1]))
    return sum(terms[1:], terms[0])


def _flat(g: Tensor) -> Tensor:
    """The gradient of a map, (N, C, L)."""
    # The old vmap, which takes many gradients at once, does not know `flatten`.
    return g.reshape(*g.shape[:2], -1)


def _back(kernels: Kernels, g: Tensor) -> WayBack:
    """Who makes the way back of the gradient `g`."""
    return again if is_differentiated(g) else kernels
