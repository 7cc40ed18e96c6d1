"""The words of rules, one record each: a new word is one more record in the table at the end.

A word is asked about one candidate, a value of the observed run. It answers with a finding: whether it holds,
and the fact that decides it. `surgeon rules explain` prints the findings one by one, so each says a single thing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from surgeon.anatomy.residual import Ways, branch_and_shortcut, why_not_residual
from surgeon.anatomy.scene import Scene, class_names
from surgeon.anatomy.steps import Kind
from surgeon.rulebook.arguments import ClassName, Name, Operand, Operands

if TYPE_CHECKING:
    from surgeon.trace.graph import Graph, Node, Value


@dataclass(frozen=True)
class Candidate:
    """A value that may be a site.

    value: the value itself. node: the step that makes it or takes it, None for the image and for the
    output. graph: the forward that holds that step. names: what a rule called the parts of it
    (`branch`, `shortcut`).
    """

    value: Value
    node: Node | None
    graph: Graph
    names: Mapping[str, Value] = field(default_factory=dict, compare=False)

    @property
    def step(self) -> Node:
        """The node, for words about what makes or takes the value."""
        assert self.node is not None, "the grammar lets no such word be said of the image"
        return self.node


@dataclass(frozen=True)
class Finding:
    """Whether a word holds of a candidate, and the fact that decides it."""

    holds: bool
    seen: str


@dataclass(frozen=True)
class Word:
    """One word of `find`.

    name: as rule files spell it. argument: what it may be given. about: what it means, for people.
    judge: (candidate, argument, scene) -> Finding.
    subjects: (argument, all words of the rule by name, scene) -> the candidates that the word can be about; None for
        a word that only narrows down what another one finds.
    along: `trunk` where it is about the way of one image, of which a network may have several.
    """

    name: str
    argument: Any
    about: str
    judge: Callable[[Candidate, Any, Scene], Finding]
    subjects: Callable[[Any, Mapping[str, Any], Scene], list[Candidate]] | None = None
    along: Literal["", "trunk"] = ""


def _is_made_by(candidate: Candidate, name: str, scene: Scene) -> Finding:
    return Finding(candidate.step.op == name, f"made by {candidate.step.op}")


def _results(name: str, words: Mapping[str, Any], scene: Scene) -> list[Candidate]:
    """The results of an operator, its operands under the names that the rule chose for them."""
    nodes = (node for graph in scene.graphs for node in graph.nodes if node.op == name)
    return [Candidate(node.outputs[0], node, node.graph, _named(node, words.get("from"))) for node in nodes]


def _named(node: Node, operands: Mapping[str, Operand] | None) -> dict[str, Value]:
    if len(node.inputs) != 2 or not operands:
        return {}
    most, fewest = branch_and_shortcut(node)
    return {name: most if operand.layers == "most" else fewest for name, operand in operands.items()}


def _joins_branch_and_shortcut(candidate: Candidate, operands: Mapping[str, Operand], scene: Scene) -> Finding:
    node = candidate.step
    trouble = why_not_residual(node, scene.maps, {operand.origin for operand in operands.values()})
    trouble = trouble or _why_no_map(candidate, operands, scene)
    if len(node.inputs) != 2:
        return Finding(False, trouble)
    ways = Ways.of(candidate.graph)
    both = (f"{_maker(value, candidate)!r} ({_layers(ways, value)})" for value in branch_and_shortcut(node))
    joined = " and ".join(both)
    return Finding(not trouble, f"{joined}: {trouble}" if trouble else joined)


def _why_no_map(candidate: Candidate, operands: Mapping[str, Operand], scene: Scene) -> str:
    for name, operand in operands.items():
        if operand.rank == "map" and scene.maps.grouped(candidate.names[name]) is None:
            return f"{name!r} is {scene.maps.described(candidate.names[name])}"
    return ""


def _maker(value: Value, candidate: Candidate) -> str:
    """What the forward of the candidate's graph does to make `value`, in two words."""
    maker = candidate.graph.makers.get(value)
    if maker is None:
        return "what it was given"
    return maker.child.path.removeprefix(f"{candidate.graph.path}.") if maker.child else maker.op


def _layers(ways: Ways, value: Value) -> str:
    count = ways.cost(value).weights
    return f"{count} layer{'s' * (count != 1)} with weights"


def _is_the_image(candidate: Candidate, what: str, scene: Scene) -> Finding:
    holds = candidate.value in scene.given
    return Finding(holds, "it is what the network is given" if holds else "made by the network")


def _the_image(what: str, words: Mapping[str, Any], scene: Scene) -> list[Candidate]:
    return [Candidate(image, None, scene.graph) for image in scene.given]


def _is_taken_by(candidate: Candidate, name: str, scene: Scene) -> Finding:
    child = candidate.step.child
    if child is None:
        return Finding(False, f"taken by {candidate.step.op}")
    return Finding(name in class_names(child.module), f"taken by a {type(child.module).__name__}")


def _what_modules_take(name: str, words: Mapping[str, Any], scene: Scene) -> list[Candidate]:
    nodes = (node for graph in scene.graphs for node in graph.nodes if node.child)
    return [Candidate(value, node, node.graph) for node in nodes for value in node.inputs if scene.maps[value]]


def _is_result_of(candidate: Candidate, name: str, scene: Scene) -> Finding:
    # A word before this one may have looked at the step that takes the value.
    calls = [node for graph in scene.graphs for node in graph.nodes if candidate.value in node.outputs and node.child]
    found = {type(node.child.module).__name__: node.child.module for node in calls if node.child}
    holds = any(name in class_names(module) for module in found.values())
    return Finding(holds, f"made by a {' in a '.join(reversed(found))}" if found else "made by no module")


def _what_modules_make(name: str, words: Mapping[str, Any], scene: Scene) -> list[Candidate]:
    nodes = (node for graph in scene.graphs for node in graph.nodes if node.child)
    return [Candidate(value, node, node.graph) for node in nodes for value in node.outputs[:1] if scene.maps[value]]


def _is_result_of_gate(candidate: Candidate, what: str, scene: Scene) -> Finding:
    gates = [node.child for node in scene.gates if candidate.value in node.outputs and node.child]
    kinds = " in a ".join(type(gate.module).__name__ for gate in gates)
    return Finding(bool(gates), f"made by a {kinds}" if gates else "made by no gate")


def _what_gates_make(what: str, words: Mapping[str, Any], scene: Scene) -> list[Candidate]:
    return [Candidate(node.outputs[0], node, node.graph) for node in scene.gates]


def _goes_into(candidate: Candidate, kind: Kind, scene: Scene) -> Finding:
    steps = [step for step in scene.steps if step.value is candidate.value]
    if not steps:
        return Finding(False, "no step of the trunk takes it")
    first = steps[0]
    what = "ends the map" if first.kind == "pool" else "makes it smaller"
    return Finding(any(step.kind == kind for step in steps), f"goes into {first.taker}, which {what}")


def _steps_of_the_trunk(kind: Kind, words: Mapping[str, Any], scene: Scene) -> list[Candidate]:
    return [Candidate(step.value, step.node, step.graph) for step in scene.steps]


def _is_beyond_the_stem(candidate: Candidate, what: str, scene: Scene) -> Finding:
    if candidate.value in scene.given:
        return Finding(False, "it is the image itself")
    is_stem = scene.is_stems(candidate.value)
    return Finding(not is_stem, "still the stem's" if is_stem else "behind the stem")


def _is_map(candidate: Candidate, kind: str, scene: Scene) -> Finding:
    return Finding(scene.maps.grouped(candidate.value) is not None, scene.maps.described(candidate.value))


# Of several words with subjects in one rule, the first of this table says what the rule looks at.
WORDS = {
    word.name: word
    for word in (
        Word(
            "op", Name, "The operator that makes the value: `add`, `mul`, `cat`, ... Every spelling counts: "
            "`+`, `+=`, `torch.add` are `add`.", _is_made_by, _results,
        ),
        Word(
            "from", Operands, "The two operands of a residual add, told apart by what is learned on the way to each, "
            "under names of your choice.", _joins_branch_and_shortcut,
        ),
        Word("is", Literal["image"], "`image`: what the network is given.", _is_the_image, _the_image),
        Word(
            "before", ClassName, "The full name of a class: a module of it takes the value, alone or among others.",
            _is_taken_by, _what_modules_take,
        ),
        Word(
            "after", ClassName, "The full name of a class: a module of it makes the value.",
            _is_result_of, _what_modules_make,
        ),
        Word(
            "gate", Literal["module"], "`module`: it is what a module returns that multiplies the map that it is given "
            "by scores that it learned to make of that very map (SE, ECA, ...).",
            _is_result_of_gate, _what_gates_make,
        ),
        Word(
            "into", Literal["smaller", "pool"], "What takes the value: `smaller`, a step that makes the map smaller; "
            "`pool`, the step that ends it: pooling, or the head that makes scores or an image.",
            _goes_into, _steps_of_the_trunk, along="trunk",
        ),
        Word(
            "beyond", Literal["stem"], "`stem`: neither the image nor what the stem makes of it counts.",
            _is_beyond_the_stem,
        ),
        Word(
            "rank", Literal["map"],
            "`map`: the value is a feature map, in whatever layout (NCHW, NHWC, tokens, video).", _is_map,
        ),
    )
}  # fmt: skip
