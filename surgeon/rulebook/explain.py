"""Why a rule finds what it finds in a model: every value that it looked at, word by word."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from surgeon.anatomy.scene import Scene
from surgeon.anatomy.steps import taker
from surgeon.anatomy.watch import observed
from surgeon.errors import SurgeonError, Untraceable
from surgeon.rulebook import book as rulebook
from surgeon.rulebook import match, owner
from surgeon.rulebook.explanation import Answer, Case, Explanation
from surgeon.trace.recorder import observe
from surgeon.trace.state import preserved

if TYPE_CHECKING:
    from torch import nn

    from surgeon.anatomy.observation import Observation
    from surgeon.rulebook.book import Folders
    from surgeon.rulebook.grammar import Find, Rule
    from surgeon.rulebook.match import Scope
    from surgeon.rulebook.words import Candidate
    from surgeon.sites import Site

KEPT = {
    "blocks": "it lies inside the branch of another one, or around several blocks",
    "outermost": "it lies inside the branch of another one",
    "first": "another one comes before it",
    "last": "another one comes after it",
    "first of each size": "another one of its size comes before it",
    "last of each size": "another one of its size comes after it",
}
NONE = " So there is none to find."
WHAT_TO_DO = (
    "What to do: choose a module whose output it is (a glob such as 'layers.*'), "
    "or write a rule with splice: after value."
)


def explain(
    model: nn.Module, where: str | Path = "residual", *, rules: Folders | None = None, example_inputs: Any = None
) -> Explanation:
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
    example = example_inputs if example_inputs is not None else rulebook.example_for(model, book)
    with observed(model, example) as observation:
        return explained(observation, where, book)


def explained(observation: Observation, where: str | Path, book: Sequence[Rule]) -> Explanation:
    """The Explanation of one place in a model that is being looked at."""
    general, special = rulebook.for_place(str(where), book)
    scene = _with_lines(observation)
    scopes = match.scopes(general, special, scene)
    cases = [case for scope in scopes for case in _cases(scope, observation)]
    abouts = [f"{rule}: {rule.about}{NONE if rule.find is None else ''}" for rule, _, _ in scopes]
    operators = {node.op for graph in scene.graphs for node in graph.nodes if not node.child}
    return Explanation(
        place=(general or special[0]).place,
        model=type(observation.model).__name__,
        rules=tuple(dict.fromkeys(abouts)),
        operators=tuple(sorted(operators)),
        cases=tuple(sorted(cases, key=lambda case: case.order)),
    )


def _with_lines(observation: Observation) -> Scene:
    """The scene once more, with the line of the model's code on each step."""
    graph = observation.scene.graph
    paths = {module: path for path, module in observation.model.named_modules()}
    with preserved(observation.model):
        again, error = observe(graph.module, graph.args, graph.kwargs, paths=paths, lines=True, hooks=observation.hooks)
    if error is not None:
        raise error
    return Scene(again)


def _cases(scope: Scope, observation: Observation) -> list[Case]:
    """A Case for each value that one rule looked at."""
    rule, scene = scope.rule, match.narrowed(scope.rule, scope.scene)
    if scene is None or rule.find is None:
        return []
    subjects = [candidate for candidate in match.subjects(rule.find, scene) if scope.may_claim(candidate)]
    answers = {candidate: _answers(rule.find, candidate, scene) for candidate in subjects}
    hits = [candidate for candidate in answers if answers[candidate][-1].holds]
    kept = match.kept(rule.find.keep, hits, scene)
    for candidate in hits:
        if candidate not in kept:
            answers[candidate].append(Answer("keep", rule.find.keep, False, KEPT[rule.find.keep]))
    return [_case(rule, candidate, tuple(those), scene, observation) for candidate, those in answers.items()]


def _answers(find: Find, candidate: Candidate, scene: Scene) -> list[Answer]:
    """The answers of the words up to the first that does not hold; those behind it are not asked."""
    answers = []
    for word, argument, finding in match.findings(find, candidate, scene):
        text = argument if isinstance(argument, str) else ", ".join(argument)
        answers.append(Answer(word, text, finding.holds, finding.seen))
        if not finding.holds:
            break
    return answers


def _case(
    rule: Rule, candidate: Candidate, answers: tuple[Answer, ...], scene: Scene, observation: Observation
) -> Case:
    site, trouble = _site(rule, candidate, scene, observation) if answers[-1].holds else (None, "")
    return Case(
        order=candidate.value.order,
        rule=rule.id,
        path=candidate.graph.path,
        step=_step(candidate, scene),
        line=candidate.node.line if candidate.node else None,
        answers=answers,
        site=site,
        trouble=trouble,
    )


def _step(candidate: Candidate, scene: Scene) -> str:
    """What is done to the candidate, in words."""
    node = candidate.node
    if node is None and candidate.value is scene.maps.image:
        return "the image"
    return f"the call of {node.child.path}" if node and node.child else taker(node)


def _site(rule: Rule, candidate: Candidate, scene: Scene, observation: Observation) -> tuple[Site | None, str]:
    """The Site, or why there can't be one."""
    try:
        return owner.anchor(candidate, rule, scene, observation.rewrites).site(), ""
    except Untraceable as error:
        return None, f"{error} {WHAT_TO_DO}"
    except SurgeonError as error:
        return None, str(error)
