"""Wrappers leave their name in front of every key (`module.`, `_orig_mod.`, `model.`): found by the keys themselves."""

from collections import Counter


def find_prefix(keys, expected):
    """What stands in front of the network's own keys in a file.

    Args:
        keys: the file's keys.
        expected: keys of the network.

    >>> find_prefix(["module.fc.weight", "module.fc.bias", "n_averaged"], ["fc.weight", "fc.bias"])
    'module.'
    """
    keys, votes = list(keys), Counter()
    own = set(expected)
    for key in keys:
        parts = key.split(".")
        for cut in range(len(parts)):
            if ".".join(parts[cut:]) in own:
                votes[".".join(parts[:cut]) + "." if cut else ""] += 1
    # The shortest of the most frequent: a key may well end as another one does.
    return min(votes, key=lambda prefix: (-votes[prefix], len(prefix))) if votes else ""


def strip_prefix(tensors, prefix):
    """(the network's tensors under their own keys, everything else)."""
    own = {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
    rest = {key: value for key, value in tensors.items() if not key.startswith(prefix)}
    return own, rest
