"""The rules that there are: surgeon's own, those of installed packages and the user's, as frozen Rules.

A rule file is data: it is read with its line numbers, held against the grammar and never executed.
"""

import os
from collections.abc import Iterable, Sequence
from functools import cache, lru_cache
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from surgeon.errors import BadRule, UnknownName, suggest
from surgeon.rulebook import text as ruletext
from surgeon.rulebook.grammar import Rule
from surgeon.rulebook.mistake import complaint

if TYPE_CHECKING:
    from torch import nn

# An installed package names its folder of rules under this entry point: `NAME = package.with_yaml_files`.
ENTRY_POINTS = "surgeon.rules"
SUFFIXES = ".yaml", ".yml"

# One folder of rules or one rule file, or several.
Folders = str | Path | Iterable[str | Path]


def read(path: str | Path) -> Rule:
    """The Rule in one YAML file.

    Raises:
        BadRule: with file and line, for anything but a rule.
    """
    return understand(ruletext.read(path), str(path))


# Every plan reads all rules, and a parser in Python takes milliseconds a file.
@lru_cache(maxsize=1000)
def understand(text: str, file: str) -> Rule:
    """The Rule that `text` says; `file` is where it came from.

    >>> understand("id: last\\nabout: The last map.\\nfind: {into: pool, keep: last}", "last.yaml")
    """
    data, lines = ruletext.parse(text, file)
    if not isinstance(data, dict):
        raise ruletext.refusal(file, 1, "a rule is a mapping with the words id, about and find")
    try:
        rule = Rule.model_validate(data)
    except ValidationError as error:
        raise complaint(error.errors(include_url=False), lines, file) from None
    return rule.model_copy(update={"place": rule.place or rule.id, "file": str(file)})


def folder() -> Path:
    """The rules that come with surgeon: inside the package when installed, beside it in a checkout."""
    here = Path(__file__).parents[1]
    return next(path for path in (here / "rules", here.parent / "rules") if path.is_dir())


def load(folders: Folders | None = None) -> list[Rule]:
    """All rules: surgeon's own, those of installed packages, of SURGEON_RULES, and of `folders`.

    Args:
        folders: one folder or file, or several.

    Raises:
        BadRule: for a file that is no rule, or two rules that claim one place for one class.
    """
    extra = [path for path in os.environ.get("SURGEON_RULES", "").split(os.pathsep) if path]
    paths = (folder(), *packaged(), *extra, *_listed(folders))
    # A file that is named twice is read once.
    found = {file.resolve(): file for path in paths for file in files(Path(path))}
    rules = [read(file) for file in found.values()]
    refuse_rivals(rules)
    return rules


def _listed(folders: Folders | None) -> Iterable[str | Path]:
    if folders is None:
        return ()
    return (folders,) if isinstance(folders, (str, Path)) else folders


def files(path: Path) -> list[Path]:
    """The rule files of one folder, by name; of a file itself."""
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise BadRule(f"{path}: no such {'rule file' if path.suffix in SUFFIXES else 'folder of rules'}.")
    found = sorted(file for file in path.iterdir() if file.suffix in SUFFIXES)
    if not found:
        raise BadRule(f"{path}: no rule in this folder (files that end in .yaml).")
    return found


@cache
def packaged() -> tuple[Path, ...]:
    """Folders that installed packages offer under the entry point group `surgeon.rules`."""
    points = sorted(metadata.entry_points(group=ENTRY_POINTS), key=lambda point: point.name)
    return tuple(Path(folder) for point in points for folder in _folders_of(point))


def _folders_of(point: metadata.EntryPoint) -> Iterable[str]:
    """Where a package is. A folder that holds YAML files alone is a package too, one of a namespace."""
    try:
        spec = find_spec(point.module)
    except Exception as error:  # this imports what holds the package, which can raise anything
        raise _no_package(point, f" ({error})") from None
    if spec is None:
        raise _no_package(point)
    return spec.submodule_search_locations or ()


def _no_package(point: metadata.EntryPoint, reason: str = "") -> BadRule:
    return BadRule(f"entry point {point.name} = {point.value} of {ENTRY_POINTS}: no such package{reason}.")


def refuse_rivals(rules: Iterable[Rule]) -> None:
    """Refuse two rules of one name, and two that claim one place for one class."""
    ids: dict[str, Rule] = {}
    claims: dict[tuple[str, str], Rule] = {}
    for rule in rules:
        if ids.setdefault(rule.id, rule) is not rule:
            raise BadRule(f"two rules are called {rule.id!r}: {ids[rule.id].file} and {rule.file}. Rename one.")
        for claim in rule.classes or ("",):
            rival = claims.setdefault((rule.place, claim), rule)
            if rival is not rule:
                claimed = f"{rule.place!r} for {claim or 'any network'}"
                raise BadRule(f"two rules claim {claimed}: {rival} and {rule}. Remove one.")


def places(rules: Iterable[Rule]) -> list[str]:
    """The ids of all places that `rules` know, general ones first."""
    return list(dict.fromkeys(rule.place for rule in sorted(rules, key=lambda rule: bool(rule.classes))))


def example_for(model: "nn.Module", rules: Sequence[Rule]) -> str | None:
    """What the rules for the class of `model` say that it is called with; None where none does."""
    if not any(rule.example for rule in rules):
        return None
    names = [f"{base.__module__}.{base.__qualname__}" for base in type(model).__mro__]
    return next((rule.example for name in names for rule in rules if rule.example and name in rule.classes), None)


def for_place(place: str, rules: Sequence[Rule]) -> tuple[Rule | None, list[Rule]]:
    """The general rule for `place` (or None) and those for single classes; for a rule file, the rule in it alone.

    Raises:
        UnknownName: no rule is for such a place. BadRule: the file is none.
    """
    if place.endswith(SUFFIXES):
        rule = read(place)
        return (None, [rule]) if rule.classes else (rule, [])
    chosen = [rule for rule in rules if rule.place == place]
    if not chosen:
        raise UnknownName(f"unknown place {place!r}. {suggest(place, places(rules))}")
    return next((rule for rule in chosen if not rule.classes), None), [rule for rule in chosen if rule.classes]
