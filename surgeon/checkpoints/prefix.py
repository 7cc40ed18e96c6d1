"""Wrappers leave their name in front of every key (`module.`, `_orig_mod.`, `model.`): found by the keys themselves."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TypeVar

T = TypeVar("T")


def find_prefix(keys: Iterable[str], expected: Iterable[str]) -> str:
    """What stands in front of the network's own keys in a file.

    Args:
        keys: the file's keys.
        expected: keys of the network.

    >>> find_prefix(["module.fc.weight", "module.fc.bias", "n_averaged"], ["fc.weight", "fc.bias"])
    'module.'
    """
    votes: Counter[str] = Counter()
    own = set(expected)
    for key in keys:
        parts = key.split(".")
        for cut in range(len(parts)):
            if ".".join(parts[cut:]) in own:
                votes[".".join(parts[:cut]) + "." if cut else ""] += 1
    # Of the most frequent the shortest: a network may have both `conv.weight` and `layer1.conv.weight`, and the second
    # key votes for `layer1.` as well.
    return min(votes, key=lambda prefix: (-votes[prefix], len(prefix))) if votes else ""


def strip_prefix(tensors: Mapping[str, T], prefix: str) -> tuple[dict[str, T], dict[str, T]]:
    """(the network's tensors under their own keys, everything else)."""
    own = {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
    rest = {key: value for key, value in tensors.items() if not key.startswith(prefix)}
    return own, rest


def unprefixed(tensors: Mapping[str, T], expected: Iterable[str]) -> tuple[dict[str, T], str]:
    """(the network's tensors under their own keys, what stood in front of them)."""
    prefix = find_prefix(tensors, expected)
    return strip_prefix(tensors, prefix)[0], prefix
