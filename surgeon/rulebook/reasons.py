"""Why a word of a rule holds or does not: what was seen of the value that it was asked about.

One function a word, like the words themselves; each returns a phrase.
"""

from surgeon.anatomy.residual import Ways, branch_and_shortcut, may_be_map


def reason(word, candidate, argument, scene, holds):
    """What was seen of `candidate` that decides `word`."""
    tell = REASONS.get(word)
    return tell(candidate, argument, scene, holds) if tell else ""


def called(value, candidate):
    """What the forward of the candidate's graph does to make `value`, in two words."""
    maker = candidate.graph.makers.get(value)
    if maker is None:
        return "what it was given"
    return maker.child.path.removeprefix(f"{candidate.graph.path}.") if maker.child else maker.op


def taker(node):
    """What takes a value: a module by its path, an operator by its name; nothing takes what the network returns."""
    return "the output of the network" if node is None else node.child.path if node.child else node.op


def mapped(value, scene):
    """`a map of 256 x 56 x 56 (NCHW)`, or that it is none."""
    found = scene.maps.grouped(value)
    if found is None:
        return f"no feature map, its shape is {' x '.join(map(str, value.shape)) or 'that of a number'}"
    return f"a map of {' x '.join(map(str, (found.channels, *found.size)))} ({found.layout})"


def _op(candidate, name, scene, holds):
    return f"made by {candidate.node.op}"


def _rank(candidate, kind, scene, holds):
    return mapped(candidate.value, scene)


def _from(candidate, wanted, scene, holds):
    if len(candidate.node.inputs) != 2:
        return trouble(candidate, wanted, scene)
    ways = Ways.of(candidate.graph)
    said = " and ".join(f"{called(value, candidate)!r} ({_layers(ways, value)})" for value in branch_and_shortcut(candidate.node))
    return said if holds else f"{said}: {trouble(candidate, wanted, scene)}"


def _layers(ways, value):
    count = ways.cost(value)[1]
    return f"{count} layer{'s' * (count != 1)} with weights"


def trouble(candidate, wanted, scene):
    """Why the values that are added are no branch and shortcut; as `residual` decides it, in its order."""
    inputs, ways = candidate.node.inputs, Ways.of(candidate.graph)
    if len(inputs) != 2:
        return f"{len(inputs)} tensor{'s' * (len(inputs) != 1)} and a number, where two are added"
    most, fewest = branch_and_shortcut(candidate.node)
    flat = most if scene.maps.grouped(most) is None else fewest if not may_be_map(fewest, scene.maps) else None
    if flat is not None:
        origin = "does not depend on the image" if flat.fixed else mapped(flat, scene)
        return f"one of them is {origin}" if not flat.fixed else f"one of them {origin}"
    if most.shape != fewest.shape:
        return f"their shapes differ, {most.shape} and {fewest.shape}"
    if ways.cost(most) <= ways.cost(fewest):
        return "as much is learned on the one way as on the other"
    if any(words.origin == "outside" for words in wanted.values()):
        return "the shortcut is made in this forward, not handed in"
    if not ways.share_a_fork(most, fewest, scene.maps, alone=all(words.origin != "anywhere" for words in wanted.values())):
        return "they do not come from one value of this forward"
    return f"{ways.detour(most, fewest)} layers with a kernel on the way of the shortcut"


def _into(candidate, kind, scene, holds):
    steps = [step for step in scene.steps if step.value is candidate.value]
    if not steps:
        return "no step of the trunk takes it"
    return f"goes into {taker(steps[0].node)}, which {'ends the map' if steps[0].kind == 'pool' else 'makes it smaller'}"


def _beyond(candidate, what, scene, holds):
    if candidate.value is scene.maps.image:
        return "it is the image itself"
    return "behind the stem" if holds else "still the stem's"


def _before(candidate, name, scene, holds):
    child = candidate.node.child
    return f"taken by a {type(child.module).__name__}" if child else f"taken by {candidate.node.op}"


def _is(candidate, what, scene, holds):
    return "it is what the network is given" if holds else "made by the network"


REASONS = {"op": _op, "rank": _rank, "from": _from, "into": _into, "beyond": _beyond, "before": _before, "is": _is}
