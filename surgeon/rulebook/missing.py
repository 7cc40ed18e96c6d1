"""Why a network has no such place: which adds and which changes of size were seen, and what they are instead."""

from collections import Counter

from surgeon.anatomy.residual import why_not_residual
from surgeon.rulebook import match


def why(general, special, scene):
    """A phrase such as `none of its 23 graphs adds two values`; empty where there is nothing more to say."""
    rules = [rule for rule, _, _ in match.scopes(general, special, scene)]
    emptied = next((rule for rule in rules if rule.find is None), None)
    if emptied is not None:
        return f"{emptied.about[0].lower()}{emptied.about[1:].rstrip('.')}"
    find = general.find if general else rules[0].find if rules else None
    if find is None:
        return ""
    given = find.words()
    if "from" in given:
        return _adds(find, given["from"], scene)
    return _shrinks(scene) if given.get("into") == "smaller" else ""


def _adds(find, operands, scene):
    seen = match.subjects(find, scene)
    if not seen:
        return f"none of its {len(scene.graphs)} graphs adds two values"
    origins = {operand.origin for operand in operands.values()}
    troubles = Counter(why_not_residual(candidate.node, scene.maps, origins) for candidate in seen)
    (most, count), *_ = troubles.most_common(1)
    return f"it has {len(seen)} sum{'s' * (len(seen) != 1)}, none of a branch and its shortcut ({count} of {len(seen)}: {most})"


def _shrinks(scene):
    steps = [step for step in scene.steps if step.kind == "smaller"]
    if not steps:
        return f"its map stays at {_size(scene.maps.image, scene)} until it ends"
    where = ", ".join(f"{step.taker} from {_size(step.value, scene)}" for step in steps)
    return f"its map gets smaller only in its stem or right behind it, at {where}"


def _size(value, scene):
    return " x ".join(map(str, scene.maps[value].size))
