"""Patterns of module paths: `layer3.*.bn2`, where `*` stays within a dot and `**` does not."""

from collections.abc import Sequence
from fnmatch import fnmatchcase


def matches(path: str, pattern: str) -> bool:
    """Whether the whole of `path` is what `pattern` says.

    >>> matches("layer3.0.bn2", "layer3.*.bn2"), matches("layer3.0.branch.bn2", "layer3.*.bn2")
    (True, False)
    >>> matches("layer3.0.branch.bn2", "layer3.**.bn2"), matches("layer3.bn2", "layer3.**.bn2")
    (True, True)
    """
    return _fits(path.split("."), pattern.split("."))


def lies_in(path: str, pattern: str) -> bool:
    """Whether `pattern` matches `path` or a module that holds it.

    >>> lies_in("layer3.0.cbam", "layer3"), lies_in("layer3.0.cbam", "*.0")
    (True, True)
    """
    return matches(path, f"{pattern}.**")


def _fits(names: Sequence[str], patterns: Sequence[str]) -> bool:
    if not patterns:
        return not names
    first, rest = patterns[0], patterns[1:]
    if first == "**":
        return any(_fits(names[count:], rest) for count in range(len(names) + 1))
    return bool(names) and fnmatchcase(names[0], first) and _fits(names[1:], rest)
