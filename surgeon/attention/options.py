"""What an option may be. Each function returns the value it was given, or raises BadOption in one line."""

from collections.abc import Sequence
from typing import Any, TypeVar

from surgeon.errors import BadOption, suggest

Value = TypeVar("Value")
# Some of a set of names: as a list, or one text with commas.
Names = str | list[str] | tuple[str, ...]


def whole(name: str, value: object, least: int = 1) -> int:
    """A whole number of at least `least`.

    >>> whole("reduction", 16)
    16
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise BadOption(f"{name} must be a whole number of at least {least}, not {value!r}.")
    return value


def odd(name: str, value: object) -> int:
    """An odd whole number, so that a convolution has a centre and keeps the size of its map."""
    number = whole(name, value)
    if number % 2 == 0:
        raise BadOption(f"{name} must be odd, so that the map keeps its size, not {value!r}.")
    return number


def flag(name: str, value: object) -> bool:
    """True or False."""
    if not isinstance(value, bool):
        raise BadOption(f"{name} must be True or False, not {value!r}.")
    return value


def choice(name: str, value: Any, known: Sequence[Value]) -> Value:
    """One of the values `known`."""
    if value not in known or isinstance(value, bool):
        raise BadOption(f"{name} can't be {value!r}. {suggest(value, map(str, known))}")
    return value


def subset(name: str, value: object, known: Sequence[str]) -> tuple[str, ...]:
    """Some of the names `known`, each at most once, in their own order, as a tuple.

    A list of names, or one text with commas, as the command has it.

    >>> subset("pools", "avg,lse", ("avg", "max", "lp", "lse"))
    ('avg', 'lse')
    """
    items = value.split(",") if isinstance(value, str) else value
    names = tuple(items) if isinstance(items, list | tuple) else ()
    if not names or len(set(names)) < len(names):
        raise BadOption(f"{name} must be names from {', '.join(known)}, each at most once, not {items!r}.")
    return tuple(choice(name, item, known) for item in names)


def reason(error: BaseException) -> str:
    """An exception of someone else's code as one line.

    >>> reason(AssertionError())
    'AssertionError'
    """
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
