"""How many shortcuts a network's own classes say it has, by the table in shortcuts.yaml."""

from functools import cache
from pathlib import Path

from ruamel.yaml import YAML

TABLE = Path(__file__).with_name("shortcuts.yaml")


@cache
def table():
    """{full name of a class: what one call of it adds to a shortcut}."""
    return YAML(typ="safe").load(TABLE)


def count(graphs):
    """The shortcuts of all the modules that ran, of one that ran twice once."""
    return sum(_said(module) for module in {graph.path: graph.module for graph in graphs}.values())


def _said(module):
    kind = type(module)
    entries = table().get(f"{kind.__module__}.{kind.__qualname__}", 0)
    return sum(_one(module, entry) for entry in (entries if isinstance(entries, list) else [entries]))


def _one(module, entry):
    """A number counts as it is; an attribute's name once where something is there, {unless: name} once where nothing is."""
    if isinstance(entry, int):
        return entry
    if isinstance(entry, dict):
        return 1 - _one(module, entry["unless"])
    there = getattr(module, entry)
    return int(there is not None and there is not False)
