"""What a forward reads of its module besides calling children: flags, which children there are, their names.

A trace takes all that for granted. The modules of a skeleton tell what they are asked for while one runs, and the
rewritten forward asks at each call whether it still holds, which takes microseconds.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from types import FunctionType, MethodType, NoneType
from typing import Any

import torch
from torch import nn

from surgeon.attention import Gate
from surgeon.forward.guards import same
from surgeon.outside.torch import CHILDREN, COMPILED, child_table


class absent:
    """Stands for an attribute that is not there; a module that is not there has no children."""

    _modules: dict[str, nn.Module | None] = {}


@dataclass(frozen=True)
class Fact:
    """Something that a trace took for granted.

    kind: `same` for a plain value, `items` for a list or a tuple of such, `is` for a function or a class, `absent` for
        no such attribute, `there` for a weight, `child` for a child, `acts` for one that does something in eval mode,
        `children` for the names of all children, `mode` for the mode of a child, that of the module itself, `method`
        for a method that no instance has of its own.
    path, name: which module was asked, counted from the one whose forward it is, and for which attribute.
    """

    kind: str
    path: str
    name: str
    value: Any = None

    @property
    def where(self) -> str:
        """The attribute in full: `bn`, `branch.bn`."""
        return f"{self.path}.{self.name}".strip(".")

    def text(self, known: str = "known") -> str:
        """The question whether it still holds, in Python; a function is compared with what is called `known`."""
        module = "self"
        for part in filter(None, self.path.split(".")):
            module = f"getattr({module}, {part!r}, absent)"
        held = f"getattr({module}, {self.name!r}, absent)"
        is_word = isinstance(self.value, (bool, NoneType))
        return {
            "same": f"{held} is {self.value}" if is_word else f"same({held}, {self.value!r})",
            "items": f"items({held}) == {self.value!r}",
            "is": f"{held} is {known}",
            "absent": f"{held} is absent",
            "there": f"there({held})",
            # Asked for most, and a child is found in the table much faster than as an attribute.
            "child": f"{module}._modules.get({self.name!r}) is not None",
            "acts": f"type({module}._modules.get({self.name!r})) not in gone",
            "children": f"children({module}) == {self.value!r}",
            "mode": f"{held} is self.training",
            "method": f"is_own({module}, {self.name!r})",
        }[self.kind]

    def holds(self, module: nn.Module) -> bool:
        return bool(eval(self.text(), {**ASKED, "known": self.value, "self": module}))

    def complaint(self, module: nn.Module) -> str:
        """What is otherwise in `module` now."""
        now: Any = module
        for part in filter(None, (*self.path.split("."), self.name)):
            now = getattr(now, part, absent)
        if self.kind in ("there", "child", "acts"):
            return f"its {self.where} {'is an Identity now' if isinstance(now, nn.Identity) else 'is gone'}"
        if self.kind == "children":
            return f"its {self.path or 'table of children'} holds other children than it did"
        if self.kind == "absent":
            return f"it has a {self.where!r} now"
        if self.kind in ("same", "items") and isinstance(now, (*_PLAIN, tuple, list)):
            return f"its {self.where} was {self.value!r} and is {now!r} now"
        return f"its {self.where} is another than it was"


def there(value: object) -> bool:
    """A child or a weight that has not been taken away."""
    return value is not None and value is not absent


def items(value: object) -> object:
    """A list as the tuple that its trace was made with."""
    return tuple(value) if isinstance(value, (list, tuple)) else value


def children(value: Any) -> tuple[str, ...]:
    """The names of a module's children, attention left out."""
    return tuple(name for name, child in child_table(value).items() if not isinstance(child, Gate))


def is_own(value: Any, method: str) -> bool:
    """True where a method is the class's own, and nobody has set another on the object."""
    return value is absent or method not in value.__dict__


ASKED: dict[str, Any] = {
    "absent": absent, "same": same, "items": items, "there": there, "children": children, "is_own": is_own,
    # What stands where a child was that has been taken away, or merged into another.
    "gone": (NoneType, nn.Identity),
    "inf": float("inf"), "nan": float("nan"),
}  # fmt: skip


@contextmanager
def watched(module: nn.Module) -> Iterator[list[Fact]]:
    """Inside, what the forward of a skeleton's `module` reads is written down, each attribute once."""
    facts: dict[tuple[str, str], Fact] = {}
    written: list[Fact] = []
    # A scripted module lives in C++ and has no other class.
    asked = [(path, part) for path, part in module.named_modules() if not isinstance(part, torch.jit.ScriptModule)]
    kinds = [type(part) for _, part in asked]
    try:
        for path, part in asked:
            vars(part)[_NOTES] = path, facts
            # As a `type[Module]` it would not be hashable to mypy.
            cls: type = type(part)
            part.__class__ = _telling(cls)
        yield written
    finally:
        written += facts.values()
        for (_, part), kind in zip(asked, kinds):
            part.__class__ = kind
            vars(part).pop(_NOTES, None)


_NOTES = "_surgeon_notes"


@cache
def _telling(cls: Any) -> type[nn.Module]:
    """The subclass of `cls` that notes what its instances are asked for."""

    def __getattribute__(self: Any, name: str) -> Any:
        value = cls.__getattribute__(self, name)
        _note(self, cls, name, value)
        return value

    def __getattr__(self: Any, name: str) -> Any:
        try:
            value = cls.__getattr__(self, name)
        except AttributeError:
            _note(self, cls, name, absent)
            raise
        _note(self, cls, name, value)
        return value

    body = {"__getattribute__": __getattribute__, "__getattr__": __getattr__, "__module__": cls.__module__}
    kind: Any = type(cls)
    return kind(cls.__name__, (cls,), body)


def _note(module: nn.Module, cls: type[nn.Module], name: str, value: Any) -> None:
    notes = object.__getattribute__(module, "__dict__").get(_NOTES)
    if notes is None or name in (_NOTES, "forward"):
        return
    path, facts = notes
    fact = _fact(module, cls, path, name, value)
    if fact is not None:
        facts.setdefault((fact.path, fact.name), fact)


def _fact(module: nn.Module, cls: type[nn.Module], path: str, name: str, value: Any) -> Fact | None:
    """What a trace relies on that reads this; None where it relies on nothing, or on nothing that can be compared."""
    if name == CHILDREN:
        if not path and hasattr(cls, "grafted_from"):
            # The questions of an earlier operation.
            return None
        names = tuple(part for part, child in value.items() if not isinstance(child, Gate))
        return Fact("children", path, "", names)
    if name == "training" and path:
        return Fact("mode", path, name)
    if name in _TORCHS or name.startswith("__"):
        return None
    of_class = inspect.getattr_static(cls, name, None)
    if isinstance(of_class, property):
        # What it reads itself is noted.
        return None
    if isinstance(value, MethodType):
        return Fact("method", path, name) if isinstance(of_class, FunctionType) else None
    if isinstance(value, nn.Module):
        is_child = vars(module)[CHILDREN].get(name) is value
        return Fact(("child" if type(value) is nn.Identity else "acts") if is_child else "there", path, name)
    if _is_weight(value):
        return Fact("there", path, name)
    if value is absent:
        return Fact("absent", path, name)
    return _plain(path, name, value)


# What nn.Module itself needs.
_TORCHS = frozenset({*vars(nn.Module()), *dir(nn.Module), COMPILED})
_PLAIN = (bool, int, float, str, NoneType)


def _is_weight(value: object) -> bool:
    return isinstance(value, torch.Tensor | torch.fx.Proxy)


def _plain(path: str, name: str, value: Any) -> Fact | None:
    """A Fact of numbers and texts, or of a function that can be found again by its name."""
    if type(value) in _PLAIN:
        return Fact("same", path, name, value)
    if isinstance(value, (tuple, list)) and all(type(item) in _PLAIN for item in value):
        return Fact("items", path, name, tuple(value))
    holder = sys.modules.get(getattr(value, "__module__", None) or "")
    is_named = getattr(holder, getattr(value, "__name__", None) or "", absent) is value
    return Fact("is", path, name, value) if is_named and callable(value) else None
