"""Why a rule finds what it finds in a model: every value that it looked at, word by word."""

from surgeon.anatomy.observation import looking_at
from surgeon.anatomy.scene import Scene
from surgeon.errors import SurgeonError, Untraceable
from surgeon.rulebook import book as rulebook
from surgeon.rulebook import match, owner
from surgeon.rulebook.explanation import Answer, Case, Explanation
from surgeon.rulebook.reasons import reason, taker
from surgeon.trace.recorder import observe
from surgeon.trace.state import still

KEPT = {
    "outermost": "it lies inside the branch of another one",
    "first": "another one comes before it",
    "last": "another one comes after it",
    "first of each size": "another one of its size comes before it",
    "last of each size": "another one of its size comes after it",
}
NONE = " So there is none to find."
WHAT_TO_DO = "What to do: choose a module whose output it is (a glob such as 'layers.*'), or write a rule with splice: after value."


def explain(model, where="residual", *, rules=None, example_inputs=None):
    """Why the rules for the place `where` find what they find in `model`, and what they nearly found.

    Args:
        where: a place, or a rule file.
        rules: a further folder of rules, or a list of them.

    Raises:
        UnknownName: no such place. BadModel, BadInput, BadRule: in one line each.

    >>> print(explain(torchvision.models.resnet18(), "residual"))
    """
    book = rulebook.load(rules)
    rulebook.for_place(str(where), book)
    with looking_at(model, example_inputs) as seen:
        return explained(seen, where, book)


def explained(seen, where, book):
    """The Explanation of one place in a model that is being looked at."""
    general, special = rulebook.for_place(str(where), book)
    scene = _with_lines(seen)
    scopes = match.scopes(general, special, scene)
    cases = [case for scope in scopes for case in _cases(*scope, seen)]
    told = tuple(dict.fromkeys(f"{rule}: {rule.about}{NONE if rule.find is None else ''}" for rule, _, _ in scopes))
    place = (general or special[0]).place
    operators = sorted({node.op for graph in scene.graphs for node in graph.nodes if not node.child})
    return Explanation(place, type(seen.model).__name__, told, tuple(operators), tuple(sorted(cases, key=lambda case: case.order)))


def _with_lines(seen):
    """The scene once more, with the line of the model's code on each step."""
    graph = seen.scene.graph
    paths = {module: path for path, module in seen.model.named_modules()}
    with still(seen.model):
        again, error = observe(graph.module, graph.args, graph.kwargs, paths=paths, lines=True, hooks=seen.hooks)
    if error is not None:
        raise error
    return Scene(again)


def _cases(rule, scene, ours, seen):
    """A Case for each value that one rule looked at."""
    scene = match.narrowed(rule, scene)
    if scene is None:
        return []
    asked = {c: _answers(rule, c, scene) for c in match.subjects(rule.find, scene) if ours(c)}
    hits = [c for c, answers in asked.items() if answers[-1].holds]
    kept = match.kept(rule.find.keep, hits, scene)
    for c in hits:
        if c not in kept:
            asked[c].append(Answer("keep", rule.find.keep, False, KEPT[rule.find.keep]))
    return [_case(rule, c, tuple(answers), scene, seen) for c, answers in asked.items()]


def _answers(rule, candidate, scene):
    """The answers of the rule's words up to the first that does not hold; what follows was not asked."""
    answers = []
    for word, argument, holds in match.answers(rule, candidate, scene):
        said = argument if isinstance(argument, str) else ", ".join(argument)
        answers.append(Answer(word, said, bool(holds), reason(word, candidate, argument, scene, holds)))
        if not holds:
            break
    return answers


def _case(rule, candidate, answers, scene, seen):
    node = candidate.node
    step = taker(node) if node is None or not node.child else f"the call of {node.child.path}"
    step = "the image" if candidate.value is scene.maps.image and node is None else step
    site, trouble = _site(rule, candidate, scene, seen) if answers[-1].holds else (None, "")
    return Case(candidate.value.order, rule.id, candidate.graph.path, step, node and node.line, answers, site, trouble)


def _site(rule, candidate, scene, seen):
    """The Site, or why there can't be one."""
    try:
        return owner.site(candidate, rule, scene, seen.rewrites), ""
    except Untraceable as stop:
        return None, f"{stop} {WHAT_TO_DO}"
    except SurgeonError as stop:
        return None, str(stop)
