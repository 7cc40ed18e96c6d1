"""Where attention goes, as it was seen in a run; a Site is made of it once all is known."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

from surgeon.sites import Site

if TYPE_CHECKING:
    from surgeon.anatomy.maps import FeatureMap
    from surgeon.trace.graph import Value


@dataclass(frozen=True)
class Anchor:
    """One value, and who will own the attention there.

    value: the value that it goes to, and `map`, the feature map that this is. place: the id of the rule's place.
    module: path of the owner. after: the value's name inside the owner, as a Site has it.
    """

    value: Value
    map: FeatureMap
    place: str
    module: str
    after: str

    def __str__(self) -> str:
        return f"{self.module or 'the model itself'}: after {self.after}"

    def size(self, *, is_grid: bool = True) -> tuple[int, ...]:
        """The size of the map; that of tokens that do not lie in rows (not `is_grid`) is their number alone."""
        return self.map.size if is_grid or self.map.layout != "NLC" else (prod(self.map.size),)

    def site(
        self, *, is_grid: bool = True, read: bool = True, cost: tuple[int | None, int | None] = (None, None)
    ) -> Site:
        """The Site here. cost: weights and multiply-adds of the attention, None where nobody asked."""
        parameters, macs = cost
        return Site(
            module=self.module,
            after=self.after,
            place=self.place,
            channels=self.map.channels,
            size=tuple(self.size(is_grid=is_grid)),
            layout=self.map.layout,
            prefix=self.map.prefix,
            parameters=parameters,
            macs=macs,
            read=read,
        )
