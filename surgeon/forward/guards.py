"""What a rewritten forward asks of each call: that it is one of the kind which it was rewritten for."""

from __future__ import annotations

from collections.abc import Callable, Sized
from dataclasses import dataclass

import torch
from torch import fx


@dataclass(frozen=True)
class Guard:
    """A question about an argument, as text: its name (`mask`, `maps[1]`) and what it was when it was observed.

    kind: `same` for a value, `as_many` for the length of a collection, `has_axes` for a tensor, `none` for free
        arguments.
    """

    kind: str
    name: str
    observed: str = ""

    @property
    def text(self) -> str:
        """The question in Python."""
        return f"{self.kind}({self.name}{self.observed and f', {self.observed}'})"

    def complaint(self, value: object) -> str:
        """What is wrong with another value."""
        if self.kind == "none":
            return f"called with more arguments ({self.name}), but surgeon rewrote its forward for none"
        if self.kind == "has_axes" and isinstance(value, torch.Tensor):
            axes = f"{value.dim()} axes in {self.name}"
            return f"called with {axes}, but surgeon rewrote its forward for {self.observed}"
        if self.kind == "as_many" and isinstance(value, Sized):
            return f"called with {len(value)} items in {self.name}, but surgeon rewrote its forward for {self.observed}"
        return f"called with {self.name}={value!r}, but surgeon rewrote its forward for {self.name}={self.observed}"


# Of a proxy, with which torch.fx traces a network, nobody can tell; the trace goes the way that was observed.


def same(value: object, observed: object) -> bool:
    """An argument that takes the forward down the observed way."""
    if value is observed or isinstance(value, fx.Proxy):
        return True
    if observed is None or value is None or isinstance(value, torch.Tensor):
        return False
    return bool(value == observed or (value != value and observed != observed))


def as_many(values: object, count: int) -> bool:
    """A collection of the observed length."""
    return isinstance(values, fx.Proxy) or isinstance(values, Sized) and len(values) == count


def has_axes(value: object, count: int) -> bool:
    """A tensor of as many axes as observed."""
    return isinstance(value, fx.Proxy) or isinstance(value, torch.Tensor) and value.dim() == count


def none(values: object) -> bool:
    """No free arguments."""
    return isinstance(values, fx.Proxy) or not values


QUESTIONS: dict[str, Callable[..., bool]] = {"same": same, "as_many": as_many, "has_axes": has_axes, "none": none}
