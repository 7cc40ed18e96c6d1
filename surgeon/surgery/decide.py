"""From what was observed of a model to a plan: which sites, whether the module fits, what it costs."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from surgeon import attention as modules
from surgeon.anatomy.liveness import is_unused
from surgeon.anatomy.scene import class_names
from surgeon.attention.building import check_names
from surgeon.attention.gate import INITS
from surgeon.errors import BadOption, BadPlan, SurgeonError, UnusedSite, suggest
from surgeon.sites import INSTEAD, Plan
from surgeon.surgery import aim

if TYPE_CHECKING:
    from surgeon.anatomy.observation import Observation
    from surgeon.anatomy.scene import Scene
    from surgeon.rulebook.anchor import Anchor
    from surgeon.rulebook.grammar import Rule
    from surgeon.sites import Site
    from surgeon.surgery.aim import Target, Where

# A name, or a class or callable that makes a module from the number of channels.
Attention = str | Callable[..., nn.Module]
# Weights and multiply-adds, None where nobody wants to know.
Cost = tuple[int | None, int | None]


def check_options(attention: Attention, init: str, options: Iterable[str]) -> None:
    """Refuse, before any work, an attention that nobody knows and options that it does not take."""
    if init not in INITS:
        raise BadOption(f"init can't be {init!r}. {suggest(init, INITS)}")
    check_names(attention, options)


def plan(
    observation: Observation,
    attention: Attention,
    where: Where,
    init: str,
    rules: Sequence[Rule],
    options: Mapping[str, Any],
    *,
    replace: bool = False,
    costs: bool = True,
) -> Plan:
    """The Plan for one observed model; without `costs`, which take as long as the rest, if nobody will read them."""
    scene = observation.scene
    targets = aim.targets(observation, where, rules, replace=replace)
    _refuse_second([target.anchor for target in targets], scene)
    fitting = _Fitting(scene, attention, init, options, costs=costs)
    decided = Plan(
        attention=modules.spec_of(attention) or modules.name_of(attention),
        sites=tuple(_sites(targets, scene, fitting, is_grid=_is_grid(scene, rules))),
        options=dict(options),
        init=init,
        fingerprint=fingerprint(observation.model),
        factory=None if isinstance(attention, str) else attention,
    )
    if not any(site.read for site in decided):
        # To the line that called surgeon.inject or surgeon.plan.
        warnings.warn(decided.notes[0], UnusedSite, stacklevel=3)
    return decided


def fingerprint(model: nn.Module) -> str:
    """A short hash of the names of all weights and buffers, in order; attention of surgeon's not counted."""
    gates = tuple(f"{path}." for path, gate in modules.attention_modules(model).items() if gate.site is not None)
    names = [name for name in model.state_dict(keep_vars=True) if not name.startswith(gates or "\0")]
    return sha256("\n".join(names).encode()).hexdigest()[:16]


def _is_grid(scene: Scene, rules: Iterable[Rule]) -> bool:
    """Whether tokens lie row by row, as they do unless a rule says that this network shuffles them."""
    shuffled = {name for rule in rules if rule.pixels == "shuffled" for name in rule.classes}
    return shuffled.isdisjoint(class_names(scene.graph.module))


def _sites(targets: Iterable[Target], scene: Scene, fitting: _Fitting, *, is_grid: bool) -> Iterator[Site]:
    for value, anchor in targets:
        cost = fitting.cost_at(anchor, anchor.size(is_grid=is_grid))
        yield anchor.site(is_grid=is_grid, read=not is_unused(value, scene), cost=cost)


def _refuse_second(anchors: Iterable[Anchor], scene: Scene) -> None:
    """Refuse an anchor at a value that has a gate already, or that is one's output."""
    gates = modules.attention_modules(scene.graph.module)
    for anchor in anchors:
        for path, gate in gates.items():
            if gate.site is not None and (_is_same(gate.site, anchor) or _is_behind(path, anchor)):
                taken = f"{gate.site}: already has attention ({path})."
                raise BadPlan(f"{taken} Take it out with surgeon.remove(model), or choose other sites.")


def _is_same(site: Site, anchor: Anchor) -> bool:
    return (site.module, site.after) == (anchor.module, anchor.after)


def _is_behind(path: str, anchor: Anchor) -> bool:
    """Whether the anchor is right after the gate at `path`, whoever owns it."""
    return path in (anchor.module, f"{anchor.module}.{anchor.after}".strip("."))


class _Fitting:
    """Tries the attention on fake maps, once for each size: whether it fits there, and what it costs."""

    def __init__(
        self, scene: Scene, attention: Attention, init: str, options: Mapping[str, Any], *, costs: bool
    ) -> None:
        self.attention, self.init, self.options, self.costs = attention, init, options, costs
        weights = scene.graph.module.parameters()
        self.dtype = next((weight.dtype for weight in weights if weight.is_floating_point()), torch.float32)
        self.known: dict[tuple[int, tuple[int, ...], bool], Cost] = {}

    def cost_at(self, anchor: Anchor, size: tuple[int, ...]) -> Cost:
        """What the attention costs at `anchor`: (weights, multiply-adds), both None where costs are not wanted.

        Raises:
            BadModule, BadOption: it does not fit there; names the place.
        """
        key = (anchor.map.channels, size, anchor.after == INSTEAD)
        if key not in self.known:
            try:
                self.known[key] = self._try(*key)
            except SurgeonError as error:
                raise type(error)(f"{anchor}: {error}") from None
        return self.known[key]

    def _try(self, channels: int, size: tuple[int, ...], instead: bool) -> Cost:
        with torch.device("meta"):
            gate = modules.build(
                self.attention, channels, init=self.init, dims=len(size), instead=instead, **self.options
            )
        if isinstance(gate, modules.Foreign):
            modules.probe(gate, (2, channels, *size), self.dtype)
        return modules.cost(gate, (channels, *size)) if self.costs else (None, None)
