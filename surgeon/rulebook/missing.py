"""Why a network has no such place: which adds and which changes of size there are, and what they are instead."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from surgeon.anatomy.residual import why_not_residual
from surgeon.anatomy.trunk import last_map
from surgeon.rulebook import match

if TYPE_CHECKING:
    from surgeon.anatomy.scene import Scene
    from surgeon.rulebook.arguments import Operand
    from surgeon.rulebook.grammar import Find, Rule
    from surgeon.trace.graph import Value


def why(general: Rule | None, special: Sequence[Rule], scene: Scene) -> str:
    """A phrase such as `none of its 23 graphs adds two values`; empty where there is nothing more to say."""
    rules = [scope.rule for scope in match.scopes(general, special, scene)]
    emptied = next((rule for rule in rules if rule.find is None), None)
    if emptied is not None:
        return f"{emptied.about[0].lower()}{emptied.about[1:].rstrip('.')}"
    rule = general or next(iter(rules), None)
    if rule is None or rule.find is None:
        return ""
    words = rule.find.words()
    if "from" in words:
        return _adds(rule.find, words["from"], scene)
    if "gate" in words:
        return f"none of its {len(scene.graphs)} graphs multiplies the map it is given by scores made of that map"
    if words.get("into") == "pool":
        return _ends(scene)
    return _shrinks(scene) if words.get("into") == "smaller" else ""


def _adds(find: Find, operands: Mapping[str, Operand], scene: Scene) -> str:
    adds = match.subjects(find, scene)
    if not adds:
        return f"none of its {len(scene.graphs)} graphs adds two values"
    origins = {operand.origin for operand in operands.values()}
    reasons = Counter(why_not_residual(candidate.step, scene.maps, origins) for candidate in adds)
    (reason, count), *_ = reasons.most_common(1)
    sums = f"{len(adds)} sum{'s' * (len(adds) != 1)}"
    return f"it has {sums}, none of a branch and its shortcut ({count} of {len(adds)}: {reason})"


def _ends(scene: Scene) -> str:
    if any(step.kind == "pool" for step in scene.steps):
        return ""
    if last_map(scene.graph, scene.maps) is None:
        return "nothing that it makes is a map of the image"
    return "most of its layers come after its last map, and what they are given is no map of the image"


def _shrinks(scene: Scene) -> str:
    steps = [step for step in scene.steps if step.kind == "smaller"]
    if not steps:
        return f"its map stays at {_size(scene.maps.image, scene)} until it ends"
    where = ", ".join(f"{step.taker} from {_size(step.value, scene)}" for step in steps)
    return f"its map gets smaller only in its stem or right behind it, at {where}"


def _size(value: Value, scene: Scene) -> str:
    return " x ".join(map(str, scene.maps.known(value).size))
