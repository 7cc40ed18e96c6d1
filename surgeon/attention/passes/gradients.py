"""The passes as functions with gradients: the way there and the way back, each in as few passes as can be.

Autograd alone would make a gradient of the map for each time that it is read, and add them up. Here only `Start` makes
one. The others tell it what it needs to know: each has inputs that `Start` made for it, which hold nothing, and whose
"gradient" is the message. So autograd itself brings the messages, and calls `Start` after all others, however often and
in whatever thread it runs.

All take the map itself as well, without a gradient of the first order: second derivatives need it, and forward mode.
"""

from __future__ import annotations

from math import prod
from typing import Any

import torch
from torch import Tensor

from surgeon.attention.passes import formulas
from surgeon.attention.passes.axes import as_channels, as_positions
from surgeon.attention.passes.capture import is_transformed
from surgeon.attention.passes.dtypes import mean, score_dtype
from surgeon.attention.passes.kernels import Kernels, Pair
from surgeon.outside.torch import is_legacy_batchedtensor

# A value and its derivative.
Given = tuple[Any, Tensor | None]


class Start(torch.autograd.Function):
    """From the map (N, C, *spatial), tensors of zeros without memory of their own; back, from messages, its gradient.

    By them are sent: the gradient of the product; its factors of channels (N, C) and of positions (N, L); what every
    channel of a position gets (N, L), and what the first maximum gets more, with its channel (2, N, L); what every
    position of a channel gets (N, C), and the first maximum more, with its position (2, N, C).
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, kernels: Kernels, inside: bool) -> tuple[Tensor, ...]:
        ctx.kernels, ctx.inside, ctx.empty = kernels, inside, x.new_zeros(1).expand(x.shape)
        ctx.set_materialize_grads(False)
        return _nothing(x)

    @staticmethod
    def backward(
        ctx: Any,
        g: Tensor | None,
        s: Tensor | None,
        t: Tensor | None,
        each: Tensor | None,
        most: Tensor | None,
        pool: Tensor | None,
        peak: Tensor | None,
    ) -> tuple[Tensor, None, None]:
        # In a second derivative, perhaps, no gradient comes by the product.
        g = ctx.empty if g is None else g
        kernels: Any = formulas if _is_differentiated(g) else ctx.kernels
        x = kernels.spread(_flat(g), s, t, each, ctx.inside, pool)
        for dim, extra in ((1, most), (2, peak)):
            if extra is not None:
                x = _added(x, dim, extra[1].long().unsqueeze(dim), extra[0].to(x.dtype).unsqueeze(dim))
        return x.reshape(g.shape), None, None

    @staticmethod
    def jvp(ctx: Any, along: Tensor, *_: None) -> tuple[Tensor, ...]:
        return _nothing(along)


def _nothing(x: Tensor) -> tuple[Tensor, ...]:
    """Zeros of the shapes of all messages about the map `x`."""
    zero, wide = x.new_zeros(1), x.new_zeros(1, dtype=score_dtype(x.dtype))
    channels, positions = x.shape[:2], (x.shape[0], prod(x.shape[2:]))
    shapes = (channels, positions, positions, (2, *positions), channels, (2, *channels))
    return zero.expand(x.shape), *(wide.expand(shape) for shape in shapes)


class Average(torch.autograd.Function):
    """The mean of each channel (N, C)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, pool: Tensor) -> Tensor:
        ctx.count = prod(x.shape[2:])
        return mean(x.flatten(2), (2,))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[None, Tensor]:
        return None, grad / ctx.count

    @staticmethod
    def jvp(ctx: Any, along: Tensor, _: None) -> Tensor:
        return mean(along.flatten(2), (2,))


class Pools(torch.autograd.Function):
    """The mean and the maximum of each channel (N, C)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, pool: Tensor, peak: Tensor, kernels: Kernels) -> tuple[Tensor, Tensor]:
        means, maxima, places = kernels.pools(x, True)
        ctx.save_for_backward(places)
        ctx.save_for_forward(places)
        ctx.count = prod(x.shape[2:])
        return means, maxima

    @staticmethod
    def backward(ctx: Any, of_mean: Tensor, of_max: Tensor) -> tuple[None, Tensor, Tensor, None]:
        (places,) = ctx.saved_tensors
        return None, of_mean / ctx.count, _with_places(of_max, places), None

    @staticmethod
    def jvp(ctx: Any, along: Tensor, *_: None) -> tuple[Tensor, Tensor]:
        (places,) = ctx.saved_tensors
        flat = along.flatten(2)
        maxima = flat.gather(2, places[:, :, None])[:, :, 0]
        return mean(flat, (2,)), maxima.to(score_dtype(along.dtype))


class Squeeze(torch.autograd.Function):
    """The mean and the maximum of `x * s` at each position (N, L); `made` gets the product itself."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, s: Tensor | None, each: Tensor, most: Tensor, kernels: Kernels, made: list[Tensor | None]
    ) -> tuple[Tensor, Tensor]:
        means, maxima, places, product = kernels.squeeze(x, as_channels(s, x), True)
        made.append(product)
        ctx.save_for_backward(x, s, places)
        ctx.save_for_forward(x, s, places)
        ctx.kernels = kernels
        return means, maxima

    @staticmethod
    def backward(ctx: Any, of_mean: Tensor, of_max: Tensor) -> tuple[Tensor | None, ...]:
        x, s, places = ctx.saved_tensors
        each, most, of_s = of_mean / x.shape[1], of_max, None
        if s is not None:
            most = of_max * s.gather(1, places.long())
            if ctx.needs_input_grad[1]:
                kernels = formulas if _is_differentiated(each) else ctx.kernels
                of_s = _of_factors(kernels, x.flatten(2), each, of_max, places)
        return None, of_s, each, _with_places(most, places), None, None

    @staticmethod
    def jvp(ctx: Any, along: Tensor | None, of_s: Tensor | None, *_: None) -> tuple[Tensor, Tensor]:
        x, s, places = ctx.saved_tensors
        flat = _along((x, along), (as_channels(s, x), as_channels(of_s, x))).flatten(2)
        return mean(flat, (1,)), flat.gather(1, places.long()[:, None])[:, 0].to(score_dtype(x.dtype))


def _of_factors(kernels: Any, x: Tensor, each: Tensor, of_max: Tensor, places: Tensor) -> Tensor:
    """The gradient of the factors by the mean and the maximum over the channels of `x` times them (N, C)."""
    at_most = x.gather(1, places.long()[:, None])[:, 0].to(of_max.dtype)
    sums: Tensor = kernels.weighted(x, each)
    return _added(sums, 1, places.long(), of_max * at_most)


class Product(torch.autograd.Function):
    """`x * s * t` for factors of channels (N, C) and of positions (N, L), which may be missing."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, s: Tensor | None, t: Tensor | None, *rest: Any) -> Tensor:
        # In a list: what is no input is written into without a trace.
        *_, kernels, (made,) = rest
        ctx.save_for_backward(x, s, t)
        ctx.save_for_forward(x, s, t)
        ctx.kernels = kernels
        return kernels.product(x, as_channels(s, x), as_positions(t, x), made)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        x, s, t = ctx.saved_tensors
        needs = ctx.needs_input_grad[1:3]
        of_s, of_t = _sums(ctx.kernels, _flat(g), x.flatten(2), s, t, needs)
        return None, of_s, of_t, g, s, t, None, None

    @staticmethod
    def jvp(ctx: Any, along: Tensor | None, of_s: Tensor | None, of_t: Tensor | None, *_: None) -> Tensor:
        x, s, t = ctx.saved_tensors
        of_channels = (as_channels(s, x), as_channels(of_s, x))
        return _along((x, along), of_channels, (as_positions(t, x), as_positions(of_t, x)))


def _sums(kernels: Kernels, g: Tensor, x: Tensor, s: Tensor | None, t: Tensor | None, of: tuple[bool, bool]) -> Pair:
    if not _is_differentiated(g):
        return kernels.sums(g, x, s, t, of)
    of_s = formulas.channel_sums(g, x, t) if of[0] else None
    return of_s, formulas.position_sums(g, x, s) if of[1] else None


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


def _added(x: Tensor, dim: int, places: Tensor, values: Tensor) -> Tensor:
    """`x`, which nobody else holds, with `values` added at `places` along `dim`."""
    return x.scatter_add(dim, places, values) if _is_differentiated(x) else x.scatter_add_(dim, places, values)


def _with_places(values: Tensor, places: Tensor) -> Tensor:
    """Both as one message. A float32 holds each place up to 2**24."""
    return torch.stack([values, places.to(values.dtype)])


def _flat(g: Tensor) -> Tensor:
    """The gradient of a map, (N, C, L)."""
    # The old vmap, which takes many gradients at once, does not know `flatten`.
    return g.reshape(*g.shape[:2], -1)


def _is_differentiated(g: Tensor) -> bool:
    """Whether gradients are taken of the backward pass that `g` belongs to, or it is many of them at once."""
    return torch.is_grad_enabled() or is_transformed() or is_legacy_batchedtensor(g)
