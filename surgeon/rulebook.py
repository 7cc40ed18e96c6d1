"""Rules as data: YAML in, frozen Rules out, and a clear line for everything that is no rule.

A rule is read with its line numbers, checked against a closed vocabulary and never executed.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from surgeon.errors import BadRule, UnknownName, suggest

# A rule is a page of text; a larger file is something else.
MOST_BYTES = 100_000


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Operand(_Strict):
    """One of the operands of an operator.

    convs: `most` or `fewest` layers with weights on its way. rank: `map`, a feature map.
    """

    convs: Literal["most", "fewest"] | None = None
    rank: Literal["map"] | None = None


class Find(_Strict):
    """What to look for; every word given must hold."""

    op: str | None = None
    operands: dict[str, Operand] | None = Field(None, alias="from")
    into: Literal["smaller", "pool"] | None = None
    beyond: Literal["stem"] | None = None
    rank: Literal["map"] | None = None
    value: Literal["image"] | None = Field(None, alias="is")
    inside: str | None = None
    keep: Literal["each", "outermost", "last", "last of each size"] = "each"


class Rule(_Strict):
    """One place, as a rule file describes it.

    id: its name. place: what it is a rule for, its id if not given. classes: full names of the
    classes that it is for; without any it is general. find: None if these classes have no such
    place. splice: where attention goes.
    """

    id: str
    about: str
    place: str = ""
    source: str = ""
    classes: tuple[str, ...] = Field((), alias="for")
    find: Find | None
    splice: str = "after value"
    expect: dict[str, int | tuple[str, ...]] = {}
    file: str = ""

    def __str__(self):
        return f"{self.id} ({self.file})" if self.file else self.id


def read(path):
    """The Rule in one YAML file.

    Raises:
        BadRule: with file and line, for anything but a rule.
    """
    path = Path(path)
    tree = _parse(path)
    if not isinstance(tree, dict):
        raise BadRule(f"{path}: a rule is a mapping with id, about, find and splice, not {type(tree).__name__}.")
    try:
        rule = Rule.model_validate(_plain(tree))
    except ValidationError as error:
        raise BadRule(_complaint(error.errors()[0], tree, path)) from None
    _check_splice(rule, tree, path)
    return rule.model_copy(update={"place": rule.place or rule.id, "file": str(path)})


def _parse(path):
    try:
        if path.stat().st_size > MOST_BYTES:
            raise BadRule(f"{path}: too long for a rule ({path.stat().st_size:,} bytes, at most {MOST_BYTES:,}).")
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadRule(f"{path}: can't be read: {error}.") from None
    if "&" in text or "!" in text and any(line.lstrip().startswith("!") or ": !" in line or "- !" in line for line in text.splitlines()):
        _refuse_anchors(text, path)
    try:
        return YAML(typ="rt", pure=True).load(text)
    except (YAMLError, RecursionError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or type(error).__name__
        raise BadRule(f"{path}{where}: not YAML: {problem}.") from None


def _refuse_anchors(text, path):
    """Anchors and tags have no place in a rule: the first explode, the second construct objects."""
    try:
        for event in YAML(pure=True).parse(text):
            odd = getattr(event, "anchor", None) or (getattr(event, "tag", None) if not getattr(event, "implicit", True) else None)
            if odd:
                raise BadRule(f"{path}, line {event.start_mark.line + 1}: anchors, aliases and tags are not allowed in a rule.")
    except (YAMLError, RecursionError, ValueError):
        return


def _plain(tree, depth=0):
    """The parsed tree as plain dicts, tuples and scalars, for the schema."""
    if depth > 12:
        raise BadRule("a rule is nested at most 12 deep.")
    if isinstance(tree, dict):
        return {str(key): _plain(value, depth + 1) for key, value in tree.items()}
    if isinstance(tree, (list, tuple)):
        return tuple(_plain(value, depth + 1) for value in tree)
    if isinstance(tree, bool) or tree is None:
        return tree
    return next((kind(tree) for kind in (int, float, str) if isinstance(tree, kind)), str(tree))


def _complaint(error, tree, path):
    """One line for a schema error: what, the file, the line, and the nearest thing that is known."""
    where = [step for step in error["loc"] if not (isinstance(step, str) and step.startswith(("function-", "tuple", "int", "dict[")))]
    line = _line_of(tree, where)
    at = f"({path}, line {line})"
    inside = f" in {'.'.join(map(str, where[:-1]))}" if len(where) > 1 else ""
    if error["type"] == "extra_forbidden":
        return f"unknown word {where[-1]!r}{inside} {at}. {suggest(where[-1], _words_at(where))}"
    if error["type"] == "missing":
        return f"missing word {where[-1]!r}{inside} {at}."
    if error["type"] == "literal_error":
        return f"{where[-1]!r} can't be {error['input']!r} {at}. {suggest(error['input'], _choices(error))}"
    return f"{'.'.join(map(str, where))} {at}: {error['msg'][0].lower()}{error['msg'][1:]}."


def _words_at(where):
    model = Rule if len(where) == 1 else Find if len(where) == 2 else Operand
    return [field.alias or name for name, field in model.model_fields.items() if name != "file"]


def _choices(error):
    return error["ctx"]["expected"].replace(" or ", ", ").replace("'", "").split(", ")


def _line_of(tree, where):
    """The line of the deepest step of `where` that the file has, counted from one."""
    line = 1
    for step in where:
        if not isinstance(tree, (dict, list)) or not hasattr(tree, "lc"):
            break
        try:
            line = (tree.lc.key(step) if isinstance(tree, dict) else tree.lc.item(step))[0] + 1
            tree = tree[step]
        except (KeyError, IndexError, TypeError):
            break
    return line


def _check_splice(rule, tree, path):
    names = ["value", *(rule.find.operands or {})] if rule.find else ["value"]
    known = [*(f"after {name}" for name in names), "before first use"]
    if rule.splice not in known:
        raise BadRule(f"'splice' can't be {rule.splice!r} ({path}, line {_line_of(tree, ['splice'])}). {suggest(rule.splice, known)}")
    if rule.find and rule.find.operands and set(o.convs for o in rule.find.operands.values()) != {"most", "fewest"}:
        raise BadRule(f"'from' needs one operand with convs: most and one with convs: fewest ({path}, line {_line_of(tree, ['find', 'from'])}).")


def folder():
    """The rules that come with surgeon: inside the package when installed, beside it in a checkout."""
    here = Path(__file__).parent
    return next(path for path in (here / "rules", here.parent / "rules") if path.is_dir())


def load(folders=()):
    """All rules: surgeon's own, those of SURGEON_RULES, those in `folders`.

    Raises:
        BadRule: for a file that is no rule, or two rules that claim one place for one class.
    """
    extra = [path for path in os.environ.get("SURGEON_RULES", "").split(os.pathsep) if path]
    rules = [rule for path in (folder(), *extra, *folders) for rule in _read_folder(Path(path))]
    _refuse_rivals(rules)
    return rules


def _read_folder(path):
    if not path.is_dir():
        raise BadRule(f"{path}: no such folder of rules.")
    return [read(file) for file in sorted(path.rglob("*.yaml"))]


def _refuse_rivals(rules: Sequence):
    seen = {}
    for rule in rules:
        for claim in rule.classes or ("",):
            rival = seen.setdefault((rule.place, claim), rule)
            if rival is not rule:
                raise BadRule(f"two rules claim {rule.place!r} for {claim or 'any network'}: {rival} and {rule}. Remove one.")


def places(rules):
    """The ids of all places that `rules` know, general ones first."""
    return list(dict.fromkeys(rule.place for rule in sorted(rules, key=lambda rule: bool(rule.classes))))


def for_place(place, rules):
    """The general rule for `place` (or None) and those for single classes.

    Raises:
        UnknownName: no rule is for such a place.
    """
    chosen = [rule for rule in rules if rule.place == place]
    if not chosen:
        raise UnknownName(f"unknown place {place!r}. {suggest(place, places(rules))}")
    return next((rule for rule in chosen if not rule.classes), None), [rule for rule in chosen if rule.classes]
