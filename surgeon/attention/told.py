"""How high and wide the map of tokens is in this run, told to the gates that weigh them by the module that knows it."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from math import prod
from typing import Any, Protocol

from surgeon.attention.layouts import Size
from surgeon.errors import SurgeonError
from surgeon.sites import Site


class Weighs(Protocol):
    """What is told: a gate, as far as it matters here."""

    site: Site | None
    enabled: bool

    @property
    def weighs_positions(self) -> bool:
        """Whether it matters to it where in the map something is."""


class Told:
    """The sizes that one map had: in this thread the last time, and in all runs.

    A run makes the map first, and its gates weigh the tokens afterwards, each of them once. One that is asked again
    (a backward pass runs a part of the network anew), or in another thread, has only the number of tokens to go by,
    and that is enough as long as all maps of so many pixels had one shape. So it is where two maps are made before the
    tokens of either are weighed.

    gates: those that are told. planned: the size that they were planned with.
    """

    def __init__(self, gates: Sequence[Weighs], planned: Size) -> None:
        self.gates, self.planned = gates, planned
        self._forget()

    def _forget(self) -> None:
        self._here = threading.local()
        self._known: dict[int, set[Size]] = {}

    def tell(self, size: Size) -> None:
        """The map of this run is of this size."""
        self._known.setdefault(prod(size), set()).add(size)
        before: dict[Size, set[Site | None]] = getattr(self._here, "sizes", {})
        # One map after another that nobody has asked for: their tokens are still to come, in whatever order.
        if any(before.values()):
            before = {}
        self._here.sizes = {} if self._weighing() is None else {**before, size: set()}

    def size_of(self, length: int, gate: Weighs) -> Size | None:
        """The size of the map that `length` tokens are, in front of `gate`; None where nobody has told any.

        Raises:
            SurgeonError: maps of several shapes had as many pixels, and nothing says which of them this is.
        """
        sizes: dict[Size, set[Site | None]] = getattr(self._here, "sizes", {})
        mine = [size for size in sizes if prod(size) == length]
        if len(mine) == 1 and gate.site not in sizes[mine[0]]:
            sizes[mine[0]].add(gate.site)
            return mine[0]
        known = tuple(self._known.get(length, ()))
        if len(known) > 1:
            self._here.sizes = {}
            shapes = " and ".join(" x ".join(map(str, size)) for size in sorted(known))
            raise SurgeonError(
                f"{gate.site}: {length} tokens have been maps of {shapes}, and a part of a network that is run on its"
                " own, or again in a backward pass, or after the maps of two images, does not know which: run the whole"
                " network, without checkpointing and an image at a time, or use attention with one score for all"
                " positions (se, eca)."
            )
        return known[0] if known else None

    def refuse_other_proportions(self, now: Size) -> None:
        """Refuse a map of size `now` where no number can be handed on, since the network's operators are recorded.

        Raises:
            SurgeonError: it has other proportions than planned, and a gate would lay out its tokens as if it had not.
        """
        weighing = self._weighing()
        if weighing is None:
            return
        planned = self.planned
        if any(here * planned[0] != there * now[0] for here, there in zip(now, planned)):
            shape, before = (" x ".join(map(str, size)) for size in (now, planned))
            raise SurgeonError(
                f"{weighing.site}: tokens of {shape} here, planned with {before}: a compiled network keeps the"
                " proportions that it was planned with. Plan with example_inputs of this size, or run it as it is."
            )

    def _weighing(self) -> Weighs | None:
        # A loop, which torch.compile of torch 2.6 can follow.
        for gate in self.gates:
            if gate.enabled and gate.weighs_positions:
                return gate
        return None

    # A copy, or what is unpickled in another process, has heard of no size yet.
    def __getstate__(self) -> dict[str, Any]:
        return {"gates": self.gates, "planned": self.planned}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._forget()
