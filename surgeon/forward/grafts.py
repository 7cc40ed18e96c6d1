"""What a one-off subclass may add to a module's forward: each kind of graft, as text and names."""

from __future__ import annotations

import inspect
import linecache
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import FunctionType
from typing import Any

import torch
from torch import nn
from torch.fx import Proxy

from surgeon.attention.passes.capture import is_captured, is_traced
from surgeon.attention.told import Told
from surgeon.forward.arguments import argument, free, header, with_defaults
from surgeon.forward.guards import QUESTIONS
from surgeon.forward.otherwise import Ground, otherwise
from surgeon.forward.reading import Readings
from surgeon.forward.reads import ASKED, Fact
from surgeon.outside.torch import tree_flatten, tree_unflatten


@dataclass(frozen=True)
class Forward:
    """A rewritten forward: source text for each mode, and the functions that it names.

    The two texts are one and the same unless the forward reads `self.training`.

    ground: what a call and the module must be like; else it goes the original's way.
    """

    evaluate: str
    train: str
    functions: tuple[tuple[str, Callable[..., Any]], ...]
    ground: Ground = Ground()

    def method(self, base: type[nn.Module]) -> Callable[..., Any]:
        evaluate = self._compiled(self.evaluate, base)
        if self.train == self.evaluate:
            return evaluate
        train = self._compiled(self.train, base)

        def forward(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
            return train(self, *args, **kwargs) if self.training else evaluate(self, *args, **kwargs)

        return forward

    def _compiled(self, source: str, base: type[nn.Module]) -> FunctionType:
        """The function that `source` defines, with the parameters of the original and the questions before all else."""
        ground = self.ground

        def other(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
            return otherwise(module, base, ground, args, kwargs)

        head, taken = header(base.forward)
        questions = [guard.text for guard in ground.guards] + [f"none({name})" for name in free(base.forward)]
        if ground.facts:
            questions.append("is_as_it_was(self)")
        asking = f"    if not ({' and '.join(questions)}):\n        return otherwise(self, {taken})\n"
        first = asking if questions else ""
        source = re.sub(r"def forward\(.*\n", lambda _: f"def forward{head}:\n{first}", source, count=1)
        asked: dict[str, Any] = {"otherwise": other, "is_as_it_was": _asking(ground.facts, base), **QUESTIONS}
        return with_defaults(_compiled(source, {**asked, **dict(self.functions)}, base), base.forward)


def _asking(facts: tuple[Fact, ...], base: type[nn.Module]) -> FunctionType:
    """The function that asks a module whether it is as `facts` say."""
    questions = [fact.text(f"known_{number}") for number, fact in enumerate(facts)]
    known = {f"known_{number}": fact.value for number, fact in enumerate(facts)}
    lines = "\n        and ".join(questions) or "True"
    source = f"def is_as_it_was(self):\n    return (\n        {lines}\n    )\n"
    return _compiled(source, {**ASKED, **known}, base, "is_as_it_was")


@dataclass(frozen=True)
class Instead:
    """The method that somebody has set as the object's `forward`: one of the other forwards that its class has."""

    name: str

    def method(self, base: type[nn.Module]) -> Callable[..., Any]:
        chosen: Callable[..., Any] = getattr(base, self.name)

        def forward(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
            return chosen(self, *args, **kwargs)

        # Asked for by `grafted`, which has no other way to know.
        forward.__signature__ = inspect.signature(chosen)  # type: ignore[attr-defined]
        return forward


@dataclass(frozen=True)
class Inside:
    """Attention behind children of a module whose forward was exchanged."""

    ground: Ground

    def method(self, base: type[nn.Module]) -> Callable[..., Any]:
        ground = self.ground

        def forward(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
            return otherwise(self, base, ground, args, kwargs)

        return forward


@dataclass(frozen=True)
class Output:
    """Attention `child` on what a module returns; on leaf `index` of it where that is a collection.

    It is looked up first of all: a call that is under way has it, though it may be taken out meanwhile.

    size: where the size of the map is read, if it is tokens that are returned.
    """

    child: str
    index: int | None = None
    size: Readings | None = None

    def method(self, base: type[nn.Module]) -> Callable[..., Any]:
        child, index, size = self.child, self.index, self.size
        if index is None:

            def forward(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
                gate = self.get_submodule(child)
                result = base.forward(self, *args, **kwargs)
                return gate(result, **_told(size, args, kwargs, result))

            return forward

        def forward_leaf(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
            gate = self.get_submodule(child)
            result = base.forward(self, *args, **kwargs)
            leaves, tree = tree_flatten(result)
            leaves[index] = gate(leaves[index], **_told(size, args, kwargs, result))
            return tree_unflatten(leaves, tree)

        return forward_leaf


@dataclass(frozen=True)
class Input:
    """Attention `child` on something that a module is given; `where` says on what, as `where_given` does.

    size: where the size of the map is read, if it is tokens that are given.
    """

    child: str
    where: str = "input"
    size: Readings | None = None

    def method(self, base: type[nn.Module]) -> Callable[..., Any]:
        child, given, size = self.child, argument(base.forward, self.where), self.size

        def forward(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
            told, gate = _told(size, args, kwargs, None), self.get_submodule(child)
            args, kwargs = given.changed((lambda x: gate(x, **told)) if told else gate, args, kwargs)
            return base.forward(self, *args, **kwargs)

        return forward


@dataclass(frozen=True)
class Tells:
    """How large a map is that a module makes or is given, told to gates that weigh its pixels as tokens later.

    told: the attribute that holds the Told of these gates.
    size: where it is read. strides: how many of its rows, and of its columns, are one of the tokens'.
    """

    told: str
    size: Readings
    strides: tuple[int, ...]

    def method(self, base: type[nn.Module]) -> Callable[..., Any]:
        name, size, strides = self.told, self.size, self.strides
        # What runs inside the module has to know before it ends.
        is_given = all(reading.name is not None for reading in size)

        def tell(told: Told, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
            now = tuple(side // stride for side, stride in zip(_read(size, args, kwargs, result), strides))
            # Whoever traces the network has no numbers here, or would keep those of this one image.
            if is_traced() or isinstance(now[0], Proxy):
                return
            if is_captured():
                told.refuse_other_proportions(now)
            else:
                told.tell(now)

        def forward(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
            told = getattr(self, name)
            if is_given:
                tell(told, args, kwargs, None)
                return base.forward(self, *args, **kwargs)
            result = base.forward(self, *args, **kwargs)
            tell(told, args, kwargs, result)
            return result

        return forward


def _told(size: Readings | None, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> dict[str, Any]:
    """What a gate is told beside the tokens: their map's size, where the call shows it."""
    return {} if size is None else {"size": _read(size, args, kwargs, result)}


def _read(size: Readings, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> tuple[Any, ...]:
    return tuple(r.within(result) if r.name is None else r.given(args, kwargs) for r in size)


@dataclass(frozen=True)
class Replaced:
    """Attention `child` in place of a module: it is given what that is given, and what that makes of it.

    Where all of the place is the attention's, the module itself does not run.
    """

    child: str

    def method(self, base: type[nn.Module]) -> Callable[..., Any]:
        child, given = self.child, argument(base.forward, "input")

        def forward(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
            gate, x = self.get_submodule(child), given.of(args, kwargs)
            return gate(x) if gate.replaces_at_once else gate(x, base.forward(self, *args, **kwargs))

        return forward


Graft = Forward | Instead | Inside | Input | Output | Replaced | Tells


def ground_of(graft: Graft) -> Ground:
    """What a graft stands on; nothing where it holds for any forward."""
    return graft.ground if isinstance(graft, Forward | Inside) else Ground()


def _compiled(
    source: str, functions: Mapping[str, Callable[..., Any]], base: type, function: str = "forward"
) -> FunctionType:
    """The `function` that `source` defines, with tracebacks that show its lines."""
    name = f"<surgeon: {function} of {base.__name__} {abs(hash(source)):x}>"
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    known = {"torch": torch, "device": torch.device, "inf": math.inf, "nan": math.nan, "NoneType": type(None)}
    scope: dict[str, Any] = {**known, **functions}
    exec(compile(source, name, "exec"), scope)
    made: FunctionType = scope[function]
    # Whoever reads what a function names asks first where it is from.
    made.__module__ = __name__
    return made
