"""A first rule for a network that has none: a description of the network, as a rule file that is ready to edit."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from surgeon.anatomy.watch import observed
from surgeon.errors import BadModel, BadOption, SurgeonError, UnknownName, suggest
from surgeon.paths import lies_in
from surgeon.rulebook import book as rulebook
from surgeon.rulebook import verdict
from surgeon.rulebook.arguments import SOURCE
from surgeon.rulebook.explain import explained
from surgeon.rulebook.grammar import Find, words
from surgeon.rulebook.origins import Hint, full_name, hints
from surgeon.trace.examples import parse
from surgeon.trace.noise import dtype_of, form_of, resolved

if TYPE_CHECKING:
    from torch import nn

    from surgeon.anatomy.observation import Observation
    from surgeon.anatomy.scene import Scene
    from surgeon.anatomy.steps import Step
    from surgeon.rulebook.book import Folders
    from surgeon.rulebook.explanation import Explanation
    from surgeon.rulebook.grammar import Rule

# More paths than this in `expect:` are harder to read than their number.
MOST_PATHS = 8
# The description of a large network would be more than people read in a file.
MOST_LINES = 120


def draft(
    model: nn.Module,
    where: str | Path = "residual",
    *,
    source: str = "",
    block: str | None = None,
    rules: Folders | None = None,
    example_inputs: Any = None,
) -> str:
    """The text of a rule file for the place `where` in networks of the class of `model`, or in a class of its blocks.

    It describes the network's structure, in comments; has the words of the rule that applies there now;
    and, if `source` names the network, what it finds as `expect:`. It passes `check` as it stands.

    Args:
        block: the class of modules that the rule is for, instead of the whole network: by its name, with the package
            or without. Where its sums would be found with an `origin`, the draft has that.

    Raises:
        UnknownName: no such place, or block. BadModel: a class of torch's own, for which there can't be a rule.
    """
    book = rulebook.load(rules)
    example = example_inputs if example_inputs is not None else rulebook.example_for(model, book)
    with observed(model, example) as observation:
        explanation = explained(observation, where, book)
        module = _block(block, observation.scene) if block is not None else observation.scene.graph.module
        name, whole = _class_name(module), full_name(observation.scene.graph.module)
        blocks = _blocks(explanation, observation.scene, book)
        known = {kind for rule in book if rule.place == explanation.place for kind in rule.classes}
        new = [hint for hint in blocks if hint.kind not in known]
        more = _outside(name, whole, explanation, observation.scene) if block is not None else _said_of(new, source)
        head = _head(name, explanation, observation.scene, source, book, more)
        # What runs the network is said once, in a rule for the whole.
        head += _example(model, example) if block is None else []
        for rule, splice in _choices(name, explanation, book):
            pixels = [f"pixels: {rule.pixels}"] if rule and rule.pixels else []
            find = _in_block(rule.find if rule else None, name, blocks)
            text = "\n".join([*head, *_find(find), f"splice: {splice}", *pixels])
            modules = _owners(text, observation, book)
            if modules is not None:
                return "\n".join([text, *_expect(modules, source), ""])
    trouble = next(case.trouble for case in explanation.found if case.trouble)
    raise BadModel(f"no rule can be drafted for {name}: {trouble}")


def _class_name(module: nn.Module) -> str:
    name = full_name(module)
    if name.startswith("torch.nn."):
        advice = "give the network a class of its own"
        raise BadModel(f"a rule for {name} would speak in every network that holds one: {advice}.")
    return name


def _block(name: str, scene: Scene) -> nn.Module:
    """The first module of the class that is called so."""
    kinds = {full_name(graph.module): graph.module for graph in reversed(scene.graphs) if graph.parent}
    found = next((kind for kind in kinds if kind == name or kind.endswith(f".{name}")), None)
    if found is None:
        own = [kind.rpartition(".")[2] for kind in kinds if not kind.startswith("torch.nn.")]
        raise UnknownName(f"no {name} runs in {type(scene.graph.module).__name__}. {suggest(name, own)}")
    return kinds[found]


def _blocks(explanation: Explanation, scene: Scene, book: Sequence[Rule]) -> list[Hint]:
    """Classes of blocks whose sums the general rule would find with an origin."""
    general, _ = rulebook.for_place(explanation.place, book)
    return hints(general.find if general else None, scene)


def _said_of(blocks: Sequence[Hint], source: str) -> list[str]:
    """What to do about sums that would be found with an origin, for the head of a draft."""
    if not blocks:
        return []
    short = blocks[0].kind.rpartition(".")[2]
    way = f"surgeon rules new {source or 'SOURCE'} --block {short}"
    return [
        "Sums that a rule for their own class would find, with an origin for an operand, if they are blocks:",
        *(f"  {hint}" for hint in blocks),
        f"Such a rule is drafted by: {way}",
    ]


def _outside(name: str, whole: str, explanation: Explanation, scene: Scene) -> list[str]:
    """What rules find outside of the blocks of class `name`, and the empty rule that leaves it out."""
    inside = [graph.path for graph in scene.graphs if full_name(graph.module) == name]
    others = [case.path for case in explanation.found if not any(lies_in(case.path, path) for path in inside)]
    if not others:
        return []
    place, short = explanation.place, whole.rpartition(".")[2].lower()
    paths = ", ".join(path or "the model" for path in dict.fromkeys(others[:3])) + " and others" * (len(others) > 3)
    return [
        f"Outside of these blocks other rules find {len(others)} more: {paths}.",
        "If those are none, an empty rule for the whole network leaves them out, in a file of its own:",
        f"  id: {short}_{place}_none",
        f"  place: {place}",
        "  about: What the general rule finds here is no block.",
        f"  for: [{whole}]",
        "  find:",
    ]


def _in_block(find: Find | None, name: str, blocks: Sequence[Hint]) -> Find | None:
    """The words for a rule of class `name`, with the origins that its sums need."""
    hint = next((hint for hint in blocks if hint.kind == name), None)
    return find.model_copy(update={"from_": hint.operands}) if find is not None and hint is not None else find


def _choices(name: str, explanation: Explanation, book: Sequence[Rule]) -> Iterator[tuple[Rule | None, str]]:
    """What to try, the best first: (rule whose words to copy or None for none, splice)."""
    rule = _nearest(name, explanation, book)
    if rule is not None:
        yield rule, rule.splice
        # On the sum, where nobody can own the branch.
        if rule.splices()[0] != rule.splice:
            yield rule, rule.splices()[0]
    yield None, "after value"


def _nearest(name: str, explanation: Explanation, book: Sequence[Rule]) -> Rule | None:
    """The rule that found most in this network; else the one for its class, else the general one."""
    finders = [case.rule for case in explanation.found]
    best = max(finders, key=finders.count, default=None)
    of_place = [rule for rule in book if rule.place == explanation.place]
    candidates = [rule for rule in book if rule.id == best]
    candidates += [rule for rule in of_place if name in rule.classes]
    candidates += [rule for rule in of_place if not rule.classes]
    return next(iter(candidates), None)


def _owners(text: str, observation: Observation, book: Sequence[Rule]) -> list[str] | None:
    """The modules that own the sites which the draft finds; None where there can't be such a site."""
    rule = rulebook.understand(text, "the draft")
    try:
        return verdict.owners(rule.place, observation, verdict.merged([rule], book))
    except SurgeonError:
        return None


def _head(
    name: str, explanation: Explanation, scene: Scene, source: str, book: Sequence[Rule], said: Sequence[str]
) -> list[str]:
    """The lines of the file that stand before `find`; `said` is what else there is to say."""
    short, place = name.rpartition(".")[2], explanation.place
    lines = [f"Drafted from {source or short}. Edit it, then: surgeon rules check FILE"]
    lines += ["", "The trunk, and what takes each map:", *(f"  {_step(step, scene)}" for step in scene.steps)]
    lines += ["", *str(explanation).splitlines()]
    same = [rule for rule in book if rule.place == place and name in rule.classes]
    lines += [f"{rule} is for this class and place already: edit that one." for rule in same]
    if len(lines) > MOST_LINES:
        more = f"... and more: surgeon rules explain {source or 'SOURCE'} --where {place}"
        lines = [*lines[:MOST_LINES], more]
    lines += ["", *said] if said else []
    about = f"about: The {place} places of {short}, in your own words."
    identity = [f"id: {_free_id(short, place, book)}", f"place: {place}"]
    return [*map(_comment, lines), *identity, about, 'source: ""', f"for: [{name}]"]


def _example(model: nn.Module, example_inputs: Any) -> list[str]:
    """The word `example` as YAML, where somebody gave one that it has words for."""
    example = resolved(example_inputs, model)
    form = form_of(example, dtype_of(model)) if example is not None else None
    try:
        return [f"example: {parse(str(form))}"] if form is not None else []
    except BadOption:  # lists and numbers among the tensors
        return []


def _comment(line: str) -> str:
    printable = "".join(character if character.isprintable() else "?" for character in line)
    return f"# {printable}".rstrip()


def _free_id(short: str, place: str, book: Sequence[Rule]) -> str:
    known = {rule.id for rule in book}
    stem = f"{re.sub(r'[^a-z0-9_]', '', short.lower())[:40]}_{place}"
    return next(name for name in (stem, *(f"{stem}_{n}" for n in range(2, 1000))) if name not in known)


def _step(step: Step, scene: Scene) -> str:
    return f"{scene.maps.described(step.value)} goes into {step.taker}: {step.kind}"


def _find(find: Find | None) -> list[str]:
    """The word `find` as YAML, each word with what it means."""
    if find is None:
        return ["find:   # nothing: these networks have no such place"]
    lines = ["find:"]
    for word, argument in find.model_dump(by_alias=True, exclude_none=True, exclude_defaults=True).items():
        lines.append(f"  # {words(Find)[word]}")
        if word == "from":
            lines += ["  from:", *(f"    {name}: {_inline(operand)}" for name, operand in argument.items())]
        else:
            lines.append(f"  {word}: {argument}")
    return lines


def _inline(table: Mapping[str, Any]) -> str:
    """A table as YAML on one line."""
    return f"{{{', '.join(f'{key}: {value}' for key, value in table.items())}}}"


def _expect(modules: Sequence[str], source: str) -> list[str]:
    """The word `expect` as YAML; a comment where the network has no name to expect it of."""
    if not re.match(SOURCE.regex, source):
        return ["# expect: {package.module:Class: %d}" % len(modules)]
    is_listed = 0 < len(modules) <= MOST_PATHS and all(modules)
    return ["expect:", f"  {source}: {'[' + ', '.join(modules) + ']' if is_listed else len(modules)}"]
