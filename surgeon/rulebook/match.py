"""From rules and an observed run to candidates: pure, changes nothing."""

from surgeon.anatomy.residual import Ways, branch_and_shortcut
from surgeon.anatomy.scene import class_names
from surgeon.rulebook.words import WORDS


def candidates(general, special, scene):
    """What the rules of one place describe in `scene`, in order of execution; in a module that runs twice, once.

    A rule for a class wins over the general one inside every module of that class, and over a rule for
    what holds that module.

    Args:
        general: the rule for any network, or None.
        special: the rules that are for single classes.

    Returns:
        [(Candidate, the Rule that found it)]
    """
    found = [(c, rule) for rule, part, ours in scopes(general, special, scene) for c in find(rule, part) if ours(c)]
    in_order = sorted({c.value: (c, rule) for c, rule in found}.values(), key=lambda pair: pair[0].value.order)
    return first_of_each(in_order, lambda pair: _step_of(pair[0]))


def first_of_each(items, key):
    """The first item for each `key(item)`, in the order of these firsts."""
    found = {}
    for item in items:
        found.setdefault(key(item), item)
    return list(found.values())


def _step_of(candidate):
    """The step of a module's forward that the candidate is, whichever call of the module it was seen in."""
    makers = candidate.graph.makers
    node = makers.get(candidate.value)
    return (candidate.graph.path, candidate.graph.nodes.index(node)) if node else candidate.value


def scopes(general, special, scene):
    """Which rule speaks where: [(rule, the scene that it looks at, callable Candidate -> whether it may claim it)]."""
    near = {graph: _nearest(special, graph.module) for graph in scene.graphs} if special else {}
    claimed = {graph: rule for graph, rule in near.items() if rule is not None}
    found = [(rule, scene.of(graph), _belongs_to(graph, claimed)) for graph, rule in claimed.items()]
    return found if general is None else [*found, (general, scene, _belongs_to(None, claimed))]


def _belongs_to(scope, claimed):
    """True for candidates whose innermost claimed module is `scope`; None is outside them all."""

    def ours(candidate):
        graph = candidate.graph
        while graph is not None and graph not in claimed:
            graph = graph.parent
        return graph is scope

    return ours


def _nearest(special, module):
    """The rule for the class of `module`; one for a derived class wins over one for its base. None if there is none."""
    names = class_names(module)
    near = {names.index(name): rule for rule in special for name in rule.classes if name in names}
    return near[min(near)] if near else None


def find(rule, scene):
    """What one rule describes in `scene`, in order of execution."""
    scene = narrowed(rule, scene)
    if scene is None:
        return []
    found = [c for c in subjects(rule.find, scene) if all(finding.holds for _, _, finding in findings(rule, c, scene))]
    return kept(rule.find.keep, found, scene)


def narrowed(rule, scene):
    """The part of the scene that the rule looks at; None if there is no such part, or nothing to look for."""
    if rule.find is None:
        return None
    return scene.inside(rule.find.inside) if rule.find.inside else scene


def findings(rule, candidate, scene):
    """(word, argument, Finding) for each word of the rule, for one candidate."""
    for word, argument in rule.find.words().items():
        yield word, argument, WORDS[word].judge(candidate, argument, scene)


def subjects(find, scene):
    """Every value that the words could be about: results of an operator, steps of the trunk, or the image."""
    given = find.words()
    first = next(name for name in given if WORDS[name].subjects)
    return WORDS[first].subjects(given[first], given, scene)


def kept(which, found, scene):
    """Those of the finds that the word `keep` keeps, in order of execution."""
    found = sorted(found, key=lambda c: c.value.order)
    if which in ("first", "last"):
        return found[:1] if which == "first" else found[-1:]
    if which in ("first of each size", "last of each size"):
        found = found if which.startswith("last") else found[::-1]
        by_size = {scene.maps[c.value].size: c for c in found}
        return sorted(by_size.values(), key=lambda c: c.value.order)
    if which == "outermost":
        beside = set().union(*(_branch_nodes(c) for c in found))
        return [c for c in found if not beside.intersection(_callers(c))]
    return found


def _branch_nodes(candidate):
    """The steps on the branch of an add, those that its shortcut does not pass."""
    ways = Ways.of(candidate.graph)
    branch, shortcut = branch_and_shortcut(candidate.node)
    beside = (ways.behind(branch) | {branch}) - ways.behind(shortcut) - {shortcut}
    return {candidate.graph.makers[value] for value in beside if value in candidate.graph.makers}


def _callers(candidate):
    """The step of a candidate and the calls that lead to it, inside out."""
    node = candidate.node
    while node is not None:
        yield node
        node = node.graph.caller
