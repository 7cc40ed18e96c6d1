"""Sums that are no blocks to a rule, and would be if it said that their operands may come from elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from surgeon.forward.subclass import grafts_of
from surgeon.rulebook import match
from surgeon.rulebook.words import WORDS

if TYPE_CHECKING:
    from torch import nn

    from surgeon.anatomy.scene import Scene
    from surgeon.rulebook.arguments import Operand
    from surgeon.rulebook.grammar import Find
    from surgeon.rulebook.words import Candidate

# What to try, the least first: the operand with most layers, and the one with fewest.
TRIED = ({"most": "anywhere"}, {"fewest": "outside"}, {"most": "anywhere", "fewest": "outside"})


@dataclass(frozen=True)
class Hint:
    """A class of modules whose sums a rule would find if it gave these operands an origin.

    paths: of the modules. operands: the word `from`, with the origins in it.
    """

    kind: str
    paths: tuple[str, ...]
    operands: Mapping[str, Operand]

    def __str__(self) -> str:
        told = ", ".join(f"{name}: origin: {item.origin}" for name, item in self.operands.items() if item.origin)
        return f"{len(self.paths)} x {self.kind} ({told}): {', '.join(self.paths[:3])}{', ...' * (len(self.paths) > 3)}"


def full_name(module: nn.Module) -> str:
    """The full name of a module's class, as it was before any operation."""
    kind = grafts_of(module)[0]
    return f"{kind.__module__}.{kind.__qualname__}"


def hints(find: Find | None, scene: Scene) -> list[Hint]:
    """A Hint for each class whose sums `find` would find with an origin, each sum under the first that does."""
    by_kind: dict[str, tuple[Mapping[str, Operand], list[str]]] = {}
    for candidate in _missed(find, scene):
        kind, operands = full_name(candidate.graph.module), _with_origin(find, candidate, scene)
        if operands is not None and not kind.startswith("torch.nn."):
            by_kind.setdefault(kind, (operands, []))[1].append(candidate.graph.path)
    return [Hint(kind, tuple(dict.fromkeys(paths)), operands) for kind, (operands, paths) in by_kind.items()]


def _missed(find: Find | None, scene: Scene) -> Iterator[Candidate]:
    """The sums inside the network's modules that `find` looks at, and that their operands alone keep it from."""
    if find is None or "from" not in find.words():
        return
    for candidate in match.subjects(find, scene):
        failed = [word for word, _, finding in match.findings(find, candidate, scene) if not finding.holds]
        if failed == ["from"] and len(candidate.step.inputs) == 2 and candidate.graph is not scene.graph:
            yield candidate


def _with_origin(find: Find | None, candidate: Candidate, scene: Scene) -> Mapping[str, Operand] | None:
    """The operands of `find` with the origins that let it find the candidate; None if no origin does."""
    assert find is not None, "it has looked at the candidate"
    operands: Mapping[str, Operand] = find.words()["from"]
    for origins in TRIED:
        tried = {
            name: operand.model_copy(update={"origin": origins.get(operand.layers, operand.origin)})
            for name, operand in operands.items()
        }
        if WORDS["from"].judge(candidate, tried, scene).holds:
            return tried
    return None
