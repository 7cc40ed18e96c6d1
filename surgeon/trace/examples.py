"""Examples in words: which tensors a network is called with, by their shapes and types, without their numbers.

People type `1x3x64x64`, or `pixel_values=2x3x224x224 input_ids=2x7:int64`; a recipe keeps the same as JSON. All of it
is read without torch, whose import takes longer than what commands such as `show` have to do.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any

from surgeon.errors import BadOption, suggest

HOW = (
    "Write a tensor as 1x3x64x64, a keyword as name=2x7, a type as 2x7:int64, several with blanks between them: "
    "'pixel_values=2x3x224x224 input_ids=2x7:int64'."
)
# The shape of a tensor that is one number.
NUMBER = "number"
_ITEM = re.compile(r"^(?:(?P<name>[A-Za-z_]\w*)=)?(?P<tensor>[^=]+)$")
_TENSOR = re.compile(rf"^(?P<shape>\d+(?:x\d+)*|{NUMBER})(?::(?P<dtype>\w+))?$")
DTYPES = (
    *("float32", "float64", "float16", "bfloat16", "complex64", "complex128"),
    *("int8", "int16", "int32", "int64", "uint8", "bool"),
)
PLAIN = (bool, int, float, str, type(None))


@dataclass(frozen=True)
class Spec:
    """A tensor without its numbers; without a type it has that of the network's weights.

    values: of a few integers, which count something more often than not: lengths, sides, indices.
    """

    shape: tuple[int, ...]
    dtype: str | None = None
    values: tuple[int, ...] | None = None

    def __str__(self) -> str:
        shape = "x".join(map(str, self.shape)) or NUMBER
        return shape if self.dtype is None else f"{shape}:{self.dtype}"


@dataclass(frozen=True)
class Form:
    """What a network is called with: a Spec wherever a tensor goes, all else as it is."""

    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        named = (f"{name}={_shown(value)}" for name, value in self.kwargs.items())
        return " ".join([*map(_shown, self.args), *named])


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_shown(part)}" for key, part in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_shown, value)) + "]"
    return str(value)


def parse(text: str, what: str = "the example") -> Form:
    """The Form that a user typed.

    Args:
        what: where it was typed, for errors.

    Raises:
        BadOption: it is no such text; says how one looks.

    >>> print(parse("1x3x64x64 mask=1x7:bool"))
    1x3x64x64 mask=1x7:bool
    """
    args: list[Spec] = []
    kwargs: dict[str, Spec] = {}
    for item in text.split():
        found = _ITEM.match(item)
        spec = _spec(found["tensor"], item, what) if found else None
        if found is None or spec is None:
            raise BadOption(f"{what} {text!r}: {item!r} is no tensor. {HOW}")
        if not found["name"]:
            args.append(spec)
        elif kwargs.setdefault(found["name"], spec) is not spec:
            raise BadOption(f"{what} {text!r} has {found['name']!r} twice.")
    if not args and not kwargs:
        raise BadOption(f"{what} is empty. {HOW}")
    return Form(tuple(args), kwargs)


def _spec(text: str, item: str, what: str) -> Spec | None:
    found = _TENSOR.match(text)
    if found is None:
        return None
    name = found["dtype"]
    if name is not None and name not in DTYPES:
        raise BadOption(f"{what}: {item!r} has a type that there is not. {suggest(name, DTYPES)}")
    shape = () if found["shape"] == NUMBER else tuple(map(int, found["shape"].split("x")))
    return Spec(shape, name)


def mapped(value: Any, change: Callable[[Any], Any]) -> Any:
    """Lists, tuples and dicts with their parts changed; numbers and texts as they are; nothing else."""
    if type(value) in (list, tuple):
        return type(value)(map(change, value))
    if type(value) is dict and all(isinstance(key, str) for key in value):
        return {key: change(part) for key, part in value.items()}
    if type(value) in PLAIN:
        return value
    raise TypeError(f"a {type(value).__name__} is neither a tensor, nor a number, nor a collection of these")


def to_json(form: Form) -> dict[str, Any]:
    """The form as JSON values; `from_json` reads it back."""
    return {
        "args": [_as_json(value) for value in form.args],
        "kwargs": {name: _as_json(value) for name, value in form.kwargs.items()},
    }


def _as_json(value: Any) -> Any:
    if isinstance(value, Spec):
        return {"tensor": str(value)} | ({} if value.values is None else {"values": list(value.values)})
    if isinstance(value, tuple):
        return {"tuple": [_as_json(part) for part in value]}
    return {"dict": mapped(value, _as_json)} if isinstance(value, dict) else mapped(value, _as_json)


def from_json(data: Any) -> Form:
    """The Form that `to_json` wrote; ValueError, TypeError or KeyError for anything else."""
    return Form(
        tuple(_from_json(value) for value in data["args"]),
        {str(name): _from_json(value) for name, value in data["kwargs"].items()},
    )


def _from_json(value: Any) -> Any:
    if not isinstance(value, dict):
        return mapped(value, _from_json)
    if "tensor" in value:
        return _tensor_from_json(**value)
    (kind, inner), *more = value.items()
    if more or kind not in ("tuple", "dict"):
        raise ValueError(f"an example of {', '.join(value)}")
    return tuple(map(_from_json, inner)) if kind == "tuple" else mapped(dict(inner), _from_json)


def _tensor_from_json(tensor: str, values: list[int] | None = None) -> Spec:
    spec = _spec(tensor, tensor, "the recipe's example")
    if spec is None or values is not None and (len(values) != prod(spec.shape) or not set(map(type, values)) <= {int}):
        raise ValueError(f"an example of {tensor!r}")
    return spec if values is None else replace(spec, values=tuple(values))
