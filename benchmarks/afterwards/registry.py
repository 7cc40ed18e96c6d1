"""The table of tools, each a small function that does to a network what its users do.

Four kinds of tool, by what is compared (`judge.py`):

answers: gives the network's scores for the images `x`, by way of the tool. They must be those of the same network
    without the tool, as nearly as with the stock network, and the attention must have a part in them.
learns: trains the network on batches, in place, or returns what was trained: a module, or {name: weight}. Every
    weight must move, those of the attention too; at identity one step gives the old weights that the stock network gets.
looks: gives tensors that the tool found out. At identity they are those of the stock network; they depend on the gates.
acts: gives tensors of a network that the tool has changed, which must depend on the gates.
counts: gives a number, which must be larger with attention.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

Function = Callable[..., Any]


class Silent(Exception):
    """A wrong result that nobody was told of."""


@dataclass(frozen=True)
class Tool:
    """One row of the table.

    name: as its users call it.
    group: what it is for; the file that it is in.
    kind: what is compared.
    does: the function.
    needs: packages beside torch, torchvision, timm and surgeon.
    coupled: the step of one weight depends on the gradients of all, so that attention changes those of old weights.
    """

    name: str
    group: str
    kind: str
    does: Function
    needs: tuple[str, ...] = ()
    coupled: bool = False


TOOLS: dict[str, Tool] = {}


def answers(name: str, needs: Sequence[str] = ()) -> Callable[[Function], Function]:
    return _entry("answers", name, needs)


def learns(name: str, needs: Sequence[str] = (), coupled: bool = False) -> Callable[[Function], Function]:
    return _entry("learns", name, needs, coupled)


def looks(name: str, needs: Sequence[str] = ()) -> Callable[[Function], Function]:
    return _entry("looks", name, needs)


def acts(name: str, needs: Sequence[str] = ()) -> Callable[[Function], Function]:
    return _entry("acts", name, needs)


def counts(name: str, needs: Sequence[str] = ()) -> Callable[[Function], Function]:
    return _entry("counts", name, needs)


def _entry(kind: str, name: str, needs: Sequence[str], coupled: bool = False) -> Callable[[Function], Function]:
    def enter(function: Function) -> Function:
        if name in TOOLS:
            raise ValueError(f"two tools are called {name!r}.")
        group = function.__module__.rpartition(".")[2]
        TOOLS[name] = Tool(name, group, kind, function, tuple(needs), coupled)
        return function

    return enter
