"""A first rule for a network that has none: what was seen of it, as a rule file that is ready to edit."""

import re

from surgeon.anatomy.observation import looking_at
from surgeon.errors import BadModel, SurgeonError
from surgeon.forward.subclass import grafts_of
from surgeon.rulebook import book as rulebook
from surgeon.rulebook import match, owner, verdict
from surgeon.rulebook.arguments import SOURCE
from surgeon.rulebook.explain import explained
from surgeon.rulebook.grammar import Find, words

# More paths than this in `expect:` are harder to read than their number.
MOST_PATHS = 8
# What was seen of a large network does not all belong into a file that people read.
MOST_LINES = 120


def draft(model, where="residual", *, source="", rules=None, example_inputs=None):
    """The text of a rule file for the place `where` in networks of the class of `model`.

    It holds the structure that was seen, as comments; the words of the rule that speaks there now;
    and, if `source` names the network, what it finds as `expect:`. It passes `check` as it stands.

    Raises:
        UnknownName: no such place. BadModel: a class of torch's own, for which there can't be a rule.
    """
    book = rulebook.load(rules)
    with looking_at(model, example_inputs) as seen:
        told = explained(seen, where, book)
        name = _class_name(seen.scene.graph.module)
        head = _head(name, told, seen.scene, source, book)
        for rule, splice in _choices(name, told, book):
            pixels = [f"pixels: {rule.pixels}"] if rule and rule.pixels else []
            text = "\n".join([*head, *_find(rule and rule.find), f"splice: {splice}", *pixels])
            modules = _found(text, seen, book)
            if modules is not None:
                return "\n".join([text, *_expect(modules, source), ""])
    raise BadModel(f"no rule can be drafted for {name}: {next(case.trouble for case in told.found if case.trouble)}")


def _class_name(module):
    kind = grafts_of(module)[0]
    name = f"{kind.__module__}.{kind.__qualname__}"
    if name.startswith("torch.nn."):
        raise BadModel(f"a rule for {name} would speak in every network that holds one: give the network a class of its own.")
    return name


def _choices(name, told, book):
    """(rule to copy, splice) to try: the rule that found most, that of the class, or the general one; then on the sum; then nothing."""
    speakers = [case.rule for case in told.found]
    most = [rule for rule in book if speakers and rule.id == max(speakers, key=speakers.count)]
    here = [rule for rule in book if rule.place == told.place]
    rules = [*most, *(rule for rule in here if name in rule.classes), *(rule for rule in here if not rule.classes)]
    for rule in rules[:1]:
        yield from ((rule, splice) for splice in dict.fromkeys((rule.splice, rule.splices()[0])))
    yield None, "after value"


def _found(text, seen, book):
    """The modules that own the sites which the draft finds; None if they can't."""
    rule = rulebook.understand(text, "the draft")
    found = match.candidates(*rulebook.for_place(rule.place, verdict.merged([rule], book)), seen.scene)
    try:
        return [owner.anchor(candidate, speaker, seen.scene, seen.rewrites).module for candidate, speaker in found]
    except SurgeonError:
        return None


def _head(name, told, scene, source, book):
    short = name.rpartition(".")[2]
    lines = [f"Drafted from {source or short}. Edit it, then: surgeon rules check FILE"]
    lines += ["", "The trunk, and what takes each map:", *(f"  {_step(step, scene)}" for step in scene.steps)]
    lines += ["", *str(told).splitlines()]
    lines += [f"{rule} is for this class and place already: edit that one." for rule in book if rule.place == told.place and name in rule.classes]
    if len(lines) > MOST_LINES:
        lines = [*lines[:MOST_LINES], f"... and more: surgeon rules explain {source or 'SOURCE'} --where {told.place}"]
    comments = ["# " + "".join(c if c.isprintable() else "?" for c in line) for line in lines]
    comments = [line.rstrip() for line in comments]
    about = f"about: The {told.place} places of {short}, in your own words."
    return [*comments, f"id: {_free_id(short, told.place, book)}", f"place: {told.place}", about, 'source: ""', f"for: [{name}]"]


def _free_id(short, place, book):
    known = {rule.id for rule in book}
    stem = f"{re.sub(r'[^a-z0-9_]', '', short.lower())[:40]}_{place}"
    return next(name for name in (stem, *(f"{stem}_{n}" for n in range(2, 1000))) if name not in known)


def _step(step, scene):
    return f"{scene.maps.described(step.value)} goes into {step.taker}: {step.kind}"


def _find(find):
    """The word `find` as YAML, each word with what it means."""
    if find is None:
        return ["find:   # nothing: these networks have no such place"]
    lines = []
    for word, argument in find.model_dump(by_alias=True, exclude_none=True, exclude_defaults=True).items():
        value = "" if word == "from" else f" {argument}"
        lines += [f"  # {words(Find)[word]}", f"  {word}:{value}"]
        if word == "from":
            lines += [f"    {name}: {{{', '.join(f'{key}: {said}' for key, said in operand.items())}}}" for name, operand in argument.items()]
    return ["find:", *lines]


def _expect(modules, source):
    """The word `expect` as YAML; without a name for the network there is nobody to expect it of."""
    if not re.match(SOURCE[0], source):
        return ["# expect: {package.module:Class: %d}" % len(modules)]
    listed = 0 < len(modules) <= MOST_PATHS and all(modules)
    return ["expect:", f"  {source}: {'[' + ', '.join(modules) + ']' if listed else len(modules)}"]
