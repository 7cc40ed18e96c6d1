"""A call or a module that is not as it was observed: the original forward, with attention behind the same children."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from types import MethodType
from typing import Any, NoReturn

from torch import nn

from surgeon.errors import BadInput, BadModel
from surgeon.forward.arguments import free
from surgeon.forward.guards import QUESTIONS, Guard
from surgeon.forward.reading import Readings
from surgeon.forward.reads import Fact, absent, there
from surgeon.outside.torch import CHILDREN, COMPILED, child_table


@dataclass(frozen=True)
class Behind:
    """Where a gate stands in the original forward.

    gate: its name. child: path of the child whose output it takes; None if it takes something else.
    item: which item of that output, None for all of it. before: the children that work on what it gives.
    size: where among the arguments the size of the map of tokens is read.
    """

    gate: str
    child: str | None = None
    item: int | None = None
    before: tuple[str, ...] = ()
    size: Readings | None = None

    def told(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """What the gate is told beside the tokens."""
        return {} if self.size is None else {"size": tuple(reading.given(args, kwargs) for reading in self.size)}


@dataclass(frozen=True)
class Ground:
    """What a rewritten forward stands on: what it asks of each call, what it takes for granted, where attention is."""

    guards: tuple[Guard, ...] = ()
    facts: tuple[Fact, ...] = ()
    gates: tuple[Behind, ...] = ()


def otherwise(
    module: nn.Module, base: type[nn.Module], ground: Ground, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """What the forward of `base` returns, run on a stand-in for `module` whose children are followed by attention.

    Args:
        ground: of the rewritten forward, for which something is not as it was.

    Raises:
        BadInput: attention stands behind no child, and nobody knows where that is on this way.
        BadModel: what it stands behind or before is gone, most likely merged into another layer.
    """
    gates = ground.gates
    _refuse_merged(module, ground)
    children = [behind.child for behind in gates if behind.child is not None]
    if len(children) < len(gates):
        _refuse(module, base, ground, args, kwargs)
    twin = shallow(module, base)
    for behind, child in zip(gates, children):
        told = behind.told(args, kwargs)
        _follow(twin, child.split("."), _Told(child_table(twin).pop(behind.gate), told), behind.item)
    before = dict(vars(twin))
    result = base.forward(twin, *args, **kwargs)
    # What a forward sets, it sets on the module.
    vars(module).update((name, value) for name, value in vars(twin).items() if before.get(name, twin) is not value)
    return result


def _refuse_merged(module: nn.Module, ground: Ground) -> None:
    """Refuse a module in which attention would stand elsewhere than it did, behind or in front of other layers."""
    acting = {fact.where for fact in ground.facts if fact.kind == "acts"}
    for behind in ground.gates:
        neighbours = [("stands behind", behind.child), *(("works before", child) for child in behind.before)]
        for stands, path in neighbours:
            child = _at(module, path) if path is not None else module
            is_merged = stands == "works before" and path in acting and type(child) is nn.Identity
            if not there(child) or is_merged:
                state = "an Identity now" if there(child) else "gone"
                where = f"{_path(module, ground.gates)}: attention ({behind.gate}) {stands} {path!r}, which is {state}"
                raise BadModel(f"{where} (merged?). {_WAY_OUT}")


_WAY_OUT = "Merge layers first and put attention in afterwards, or choose a place behind the whole module."


def _at(module: nn.Module, path: str) -> Any:
    now: Any = module
    for part in path.split("."):
        now = getattr(now, part, absent)
    return now


def shallow(module: nn.Module, base: type[nn.Module]) -> Any:
    """Another object of class `base`, with the attributes of `module` and a table of children of its own."""
    twin = object.__new__(base)

    def own(value: Any) -> Any:
        is_bound = isinstance(value, MethodType) and value.__self__ is module
        return MethodType(value.__func__, twin) if is_bound else value

    vars(twin).update((name, own(value)) for name, value in vars(module).items())
    vars(twin)[CHILDREN] = dict(child_table(module))
    return twin


class _Told:
    """A gate, and what it is told beside the tokens in this call."""

    def __init__(self, gate: Any, told: dict[str, Any]) -> None:
        self.gate, self.told = gate, told

    def __call__(self, x: Any) -> Any:
        return self.gate(x, **self.told)


def _follow(parent: nn.Module, path: list[str], gate: _Told, item: int | None) -> None:
    """Let a call of the child at `path` end in `gate`.

    The child itself is as it was, and may be called elsewhere meanwhile.
    """
    name, *rest = path
    child = child_table(parent)[name]
    assert child is not None, "what gave the output that a gate takes is a module"
    child_table(parent)[name] = twin = shallow(child, type(child))
    if rest:
        _follow(twin, rest, gate, item)
    else:
        # Where nn.Module looks before it goes its own way.
        vars(twin)[COMPILED] = lambda *args, **kwargs: _weighed(child(*args, **kwargs), gate, item)


def _weighed(result: Any, gate: _Told, item: int | None) -> Any:
    if item is None:
        return gate(result)
    items = [gate(value) if index == item else value for index, value in enumerate(result)]
    return result._make(items) if hasattr(result, "_make") else type(result)(items)


def _refuse(
    module: nn.Module, base: type[nn.Module], ground: Ground, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> NoReturn:
    """Say what is otherwise than it was, and what to do about it."""
    path = _path(module, ground.gates)
    changed = next((fact for fact in ground.facts if not fact.holds(module)), None)
    if changed is not None:
        reason = f"{changed.complaint(module)}, and surgeon rewrote its forward for that"
        raise BadModel(f"{path}: {reason}. Call surgeon.remove(model), and put attention in again as it is now.")
    way_out = "Pass example_inputs= that reach it this way, or call surgeon.remove(model) first."
    raise BadInput(f"{path}: {_complaint(module, base, ground.guards, args, kwargs)}. {way_out}")


def _complaint(
    module: nn.Module, base: type[nn.Module], asked: tuple[Guard, ...], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> str:
    bound = inspect.signature(base.forward).bind(module, *args, **kwargs)
    bound.apply_defaults()
    known = {**QUESTIONS, "inf": float("inf"), "nan": float("nan")}
    asked = (*asked, *(Guard("none", name) for name in free(base.forward)))
    guard = next(guard for guard in asked if not eval(guard.text, known, bound.arguments))
    return guard.complaint(eval(guard.name, known, bound.arguments))


def _path(module: nn.Module, gates: tuple[Behind, ...]) -> str:
    site = getattr(module.get_submodule(gates[0].gate), "site", None)
    return site.module or "the model" if site is not None else type(module).__name__
