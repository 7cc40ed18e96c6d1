"""The only file that gives a model other classes and children: puts gates in and takes them out, all or nothing."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from torch import nn

from surgeon.attention import Gate
from surgeon.attention.told import Told
from surgeon.errors import BadModel, BadPlan, CheckFailed, Untraceable, suggest
from surgeon.forward.grafts import Graft, Input, Output, Replaced, Tells
from surgeon.forward.insert import New, inserted
from surgeon.forward.subclass import MERGING, NO_GRAFTS, forward_of, grafted, grafts_of, runs_any_child, takes_grafts
from surgeon.outside.torch import CHILDREN, child_table
from surgeon.sites import INSTEAD

if TYPE_CHECKING:
    from surgeon.anatomy.observation import Observation
    from surgeon.anatomy.sizes import Source
    from surgeon.forward.kept import Kept
    from surgeon.forward.reading import Readings
    from surgeon.forward.rewrite import Rewritable
    from surgeon.sites import Site

    Children = dict[str, nn.Module | None]


class Undo(NamedTuple):
    """A module that was changed: the class and the children that it had before, and the gates that it got.

    A Told is an attribute, for the gates of other modules.
    """

    module: nn.Module
    cls: type[nn.Module]
    children: Children
    gates: dict[str, Gate | Told]


class Telling(NamedTuple):
    """Which gates are told the size of a map, and what that was when they were planned."""

    sites: tuple[Site, ...]
    planned: tuple[int, ...]


@dataclass(frozen=True)
class Stitch:
    """What will be done to one module: the child it gets for each site, and its new class (a Sequential's old one).

    telling: attribute -> what is told by it to gates of other modules.
    """

    module: nn.Module
    children: dict[Site, str]
    cls: type[nn.Module]
    telling: dict[str, Telling] = field(default_factory=dict)

    @property
    def paths(self) -> list[str]:
        """The paths of the new children in the model."""
        return [f"{site.module}.{name}".strip(".") for site, name in self.children.items()]


def stitches(model: nn.Module, sites: Iterable[Site], name: str, observation: Observation) -> list[Stitch]:
    """All the changes, prepared; the model is still as it was.

    Args:
        name: what the new children are called, where that is free.
        observation: of the model, or of another like it.

    Raises:
        BadPlan: a site names a module or a node that the model does not have.
    """
    by_module: dict[str, list[Site]] = {}
    for site in sites:
        by_module.setdefault(site.module, []).append(site)
    modules = {path: _module(model, path) for path in by_module}
    sizes = {site: observation.readings(site) for those in by_module.values() for site in those}
    rewrites = observation.rewrites_of
    made = [_stitch(modules[path], path, those, name, rewrites, sizes) for path, those in by_module.items()]
    sources = {site: observation.source(site) for site, size in sizes.items() if size is None}
    return _with_tellers(model, made, {site: source for site, source in sources.items() if source is not None})


def _with_tellers(model: nn.Module, made: Sequence[Stitch], sources: Mapping[Site, Source]) -> list[Stitch]:
    """The stitches, and one for each module that tells gates how large the map of their tokens is."""
    stitches = {id(stitch.module): stitch for stitch in made}
    for source in dict.fromkeys(sources.values()):
        module = model.get_submodule(source.path)
        before = stitches.get(id(module), Stitch(module, {}, type(module)))
        name = next(free for free in _names(module, "telling", 2) if free not in before.telling)
        told = Telling(tuple(site for site, other in sources.items() if other == source), source.planned)
        base, *grafts = vars(before.cls).get("grafted_from", (before.cls,))
        cls = grafted(base, *grafts, Tells(name, source.readings, source.strides))
        stitches[id(module)] = Stitch(module, before.children, cls, {**before.telling, name: told})
    return list(stitches.values())


def _module(model: nn.Module, path: str) -> nn.Module:
    try:
        return model.get_submodule(path)
    except AttributeError:
        paths = [name for name, _ in model.named_modules()]
        guess = suggest(path, paths).split(" Known:")[0]
        hint = f" {guess}" if guess.startswith("Did") else ""
        raise BadPlan(f"this model has no module {path!r}.{hint}") from None


def _stitch(
    module: nn.Module,
    path: str,
    sites: Sequence[Site],
    name: str,
    rewrites: Callable[[str], Rewritable | Kept],
    sizes: Mapping[Site, Readings | None],
) -> Stitch:
    if not takes_grafts(module):
        raise Untraceable(f"{path or 'the model'}: {NO_GRAFTS}.")
    children = dict(zip(sites, _names(module, name, len(sites))))
    base, *grafts = grafts_of(module)
    inner = {site.after: New(child, sizes[site]) for site, child in children.items() if not _at_edge(site)}
    if inner:
        grafts.append(inserted(path, rewrites(path), inner))
    if len(inner) < len(sites) and runs_any_child(module):
        reason = "its forward runs all its children, and would run attention as one of them"
        raise Untraceable(f"{path or 'the model'}: {reason}.")
    for site, child in children.items():
        size = sizes[site]
        if _at_edge(site) and (size is not None or not _is_appended(module, site, grafts)):
            grafts.append(_edge(site, child, size))
    return Stitch(module, children, grafted(base, *grafts))


def _at_edge(site: Site) -> bool:
    return site.after.split(".")[0] in ("input", "output", INSTEAD)


def _is_appended(module: nn.Module, site: Site, grafts: Sequence[Graft]) -> bool:
    """An nn.Sequential needs no new forward: a child at its end is run after the others.

    One that merges its layers would not know what to do with it.
    """
    plain = type(module).forward is nn.Sequential.forward and not isinstance(module, Gate)
    plain = plain and not any(hasattr(module, name) for name in MERGING)
    return plain and not grafts and site.after == "output"


def _edge(site: Site, name: str, size: Readings | None) -> Graft:
    if site.replaces:
        return Replaced(name)
    edge, _, index = site.after.partition(".")
    if edge == "input":
        return Input(name, site.after, size)
    return Output(name, int(index) if index else None, size)


def _names(module: nn.Module, name: str, count: int) -> Iterator[str]:
    """Names for `count` new children: `cbam`, and `cbam_1` and so on where that is taken."""
    numbered = (f"{name}_{number}" for number in itertools.count(1))
    free = (candidate for candidate in itertools.chain([name], numbered) if not hasattr(module, candidate))
    return itertools.islice(free, count)


def put_in(prepared: Iterable[Stitch], gates: Mapping[Site, Gate]) -> list[Undo]:
    """Make all the prepared changes; if one fails, those before it are taken back.

    Args:
        gates: the gate for each site.

    Returns:
        what `take_back` needs.
    """
    undo: list[Undo] = []
    try:
        for stitch in prepared:
            module = stitch.module
            new = {name: gates[site] for site, name in stitch.children.items()}
            told = {name: _told(telling, gates) for name, telling in stitch.telling.items()}
            undo.append(Undo(module, type(module), child_table(module), {**new, **told}))
            vars(module).update(new, **told)
            module.__class__ = stitch.cls
            _show(module, {**child_table(module), **new}, new)
    except BaseException:
        take_back(undo)
        raise
    return undo


def _told(telling: Telling, gates: Mapping[Site, Gate]) -> Told:
    """A Told that its gates know of."""
    those = [gates[site] for site in telling.sites]
    told = Told(those, telling.planned)
    for gate in those:
        gate.told = told
    return told


# A network may be running in another thread while it is changed. So a gate is a plain attribute first, for the new
# forward to find, and becomes a child after the class has changed. The table of children is replaced as a whole:
# whoever iterates over it goes through the old ones or the new ones.


def _show(module: nn.Module, children: Children, gates: Iterable[str]) -> None:
    """Make `children` those of `module`, where its gates are needed as attributes no more."""
    vars(module)[CHILDREN] = children
    for name in gates:
        vars(module).pop(name, None)


def take_back(undo: Sequence[Undo]) -> None:
    """Undo what `put_in` did, the last change first."""
    for module, cls, children, gates in reversed(undo):
        vars(module).update({**gates, CHILDREN: children})
        module.__class__ = cls
        _show(module, children, gates)


def remove(model: nn.Module, owners: Iterable[str] | None = None) -> int:
    """Take all that surgeon has put into `model` out again, class by class and key by key.

    Args:
        owners: the paths of the modules that are to be what they were; all if not given.

    Returns:
        the number of gates that were taken out.

    Raises:
        BadModel: someone else has put a subclass upon surgeon's (a parametrization, a sharded module).
    """
    modules = dict(model.named_modules())
    if owners is not None:
        modules = {path: modules[path] for path in owners}
    for path, module in modules.items():
        base, *_ = grafts_of(module)
        if hasattr(base, "grafted_from"):
            change = f"its class was changed after surgeon's operation (to {base.__name__})"
            raise BadModel(f"{path or 'the model'}: {change}; undo that first.")
    before = [_before(module) for module in modules.values()]
    exchanged = [(module, name) for module in modules.values() if (name := forward_of(module))]
    take_back([undo for undo in before if undo.gates or type(undo.module) is not undo.cls])
    for module, name in exchanged:
        module.forward = getattr(module, name)
    return sum(isinstance(gate, Gate) for undo in before for gate in undo.gates.values())


def exchange(model: nn.Module, gates: Mapping[str, Gate]) -> None:
    """Put each of `gates` in the place of the gate at its path; whoever tells that one the size of a map tells it."""
    for path, gate in gates.items():
        owner, name = model.get_submodule(path.rpartition(".")[0]), path.rpartition(".")[2]
        old: object = child_table(owner)[name]
        if gate.told is not None:
            gate.told.gates = [gate if other is old else other for other in gate.told.gates]
        vars(owner)[CHILDREN] = {**child_table(owner), name: gate}


@contextmanager
def all_or_nothing(model: nn.Module) -> Iterator[None]:
    """Inside, modules may be given other classes and children; if anything is raised, all have those from before."""
    before = [(module, type(module), dict(vars(module))) for module in model.modules()]
    try:
        yield
    except BaseException:
        for module, cls, attributes in before:
            module.__class__ = cls
            vars(module).clear()
            vars(module).update(attributes)
        raise


def _before(module: nn.Module) -> Undo:
    """What `module` was before any operation, and the gates that surgeon put there."""
    children = child_table(module)
    gates = {name: child for name, child in children.items() if isinstance(child, Gate) and child.site is not None}
    others = {name: child for name, child in children.items() if name not in gates}
    base, *grafts = grafts_of(module)
    told = {graft.told: vars(module)[graft.told] for graft in grafts if isinstance(graft, Tells)}
    return Undo(module, base, others, {**gates, **told})


def count_stitches(model: nn.Module, gates: Mapping[Site, Gate]) -> None:
    """Every gate is in the model, once, where its site says.

    Raises:
        CheckFailed: with the first that is not.
    """
    for site, gate in gates.items():
        children = list(child_table(model.get_submodule(site.module)).values())
        times = sum(child is gate for child in children)
        if times != 1:
            raise CheckFailed(f"{site}: the attention is there {times} times, not once.")
