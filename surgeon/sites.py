"""Where attention goes: a Site is one place in one model, a Plan is all of them.

Both are names and numbers only, never a node or a tensor, so that a plan can be printed, refined,
stored as JSON and applied to another copy of the same network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from html import escape
from statistics import median
from typing import TYPE_CHECKING, Any

from surgeon.errors import BadPlan
from surgeon.paths import lies_in

if TYPE_CHECKING:
    from torch import nn

# How attention starts where nobody says; docs/starts.md has the reasons.
DEFAULT_INIT = "eager"
# A gate that changes its map by less than this share is one that the network would hardly notice.
HARDLY = 0.01
# What is told of each site.
COLUMNS = ("module", "after", "place", "channels x size", "layout", "+params", "+MACs")
# What a Site is `after` where attention takes a module's place.
INSTEAD = "instead"


@dataclass(frozen=True)
class Site:
    """One value of a network that attention is to be applied to.

    module: path of the module that will own the attention, such as `layer1.0`.
    after: the value inside it: the name of a node in its forward (`bn3`), `output`, `output.0` for
        the first of several outputs, or `input` (`input.NAME` for another argument than the first, with the number of a
        leaf behind it where that is a collection); `instead` where attention takes the module's place.
    place: id of the rule that found it.
    channels: number of channels of the map.
    size: its height and width (or depth, height and width) on the example input.
    layout: order of its axes: NCHW, NHWC, NCDHW, NDHWC, NLC (tokens), NCL, NGLC or NCGL (tokens in windows).
    prefix: tokens in front of the map that belong to no pixel (class, register, distillation).
    parameters, macs: what the attention costs here, weights and multiply-adds for one image; None until somebody asks.
    read: False where the network's output does not depend on the map (only a class token is read behind it).
    """

    module: str
    after: str
    place: str
    channels: int
    size: tuple[int, ...]
    layout: str = "NCHW"
    prefix: int = 0
    parameters: int | None = None
    macs: int | None = None
    read: bool = True

    def __str__(self) -> str:
        return f"{self.module or 'the model itself'}: {'instead of it' if self.replaces else f'after {self.after}'}"

    @property
    def replaces(self) -> bool:
        """Whether attention takes the place of the module."""
        return self.after == INSTEAD

    @property
    def cost(self) -> tuple[str, str]:
        """`parameters` and `macs` as text, `?` where they are not known."""
        return _count(self.parameters), _count(self.macs)

    @property
    def shape(self) -> str:
        """The map as text: `256 x 56 x 56`, channels first."""
        return " x ".join(str(n) for n in (self.channels, *self.size))


def _count(number: int | None) -> str:
    return "?" if number is None else f"{number:,}"


@dataclass(frozen=True)
class Plan:
    """What will be done to a model, decided and not yet done.

    A plan is a sequence of sites: count it, print it, narrow it with `only` and `without`, then
    `surgeon.apply(model, plan)`.
    """

    attention: str
    sites: tuple[Site, ...]
    options: dict[str, Any] = field(default_factory=dict)
    init: str = DEFAULT_INIT
    fingerprint: str = ""
    # A class or callable that has no importable name lives only as long as the plan object.
    factory: Callable[..., nn.Module] | None = field(default=None, compare=False, repr=False)

    def __len__(self) -> int:
        return len(self.sites)

    def __iter__(self) -> Iterator[Site]:
        return iter(self.sites)

    def only(self, *patterns: str) -> Plan:
        """The plan narrowed to the modules that one of the globs `patterns` matches, and what is inside them."""
        return self._select(patterns, matching=True)

    def without(self, *patterns: str) -> Plan:
        """The plan less the the modules that one of the globs `patterns` matches, and what is inside them."""
        return self._select(patterns, matching=False)

    def _select(self, patterns: tuple[str, ...], *, matching: bool) -> Plan:
        for pattern in patterns:
            if not any(lies_in(site.module, pattern) for site in self.sites):
                raise BadPlan(f"{pattern!r} matches none of the {len(self)} sites of this plan: {self._paths()}.")
        return replace(self, sites=tuple(site for site in self.sites if _matches(site, patterns) is matching))

    def _paths(self, most: int = 6) -> str:
        paths = [site.module for site in self.sites]
        return ", ".join(paths[:most]) + (", ..." if len(paths) > most else "")

    def to_dict(self) -> dict[str, Any]:
        """The plan as plain JSON values; `Plan.from_dict` reads it back."""
        return {
            "attention": self.attention,
            "options": dict(self.options),
            "init": self.init,
            "fingerprint": self.fingerprint,
            "sites": [asdict(site) | {"size": list(site.size)} for site in self.sites],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Plan:
        """The plan that `to_dict` wrote; anything else is a BadPlan."""
        try:
            sites = tuple(Site(**site | {"size": tuple(site["size"])}) for site in data["sites"])
            settings = {key: data[key] for key in ("attention", "options", "init", "fingerprint")}
            if [type(value) for value in settings.values()] != [str, dict, str, str]:
                raise TypeError("attention, init and fingerprint are texts, options a table")
            return cls(**settings, sites=sites)
        except (KeyError, TypeError) as error:
            known = ", ".join(item.name for item in fields(Site))
            expected = f"A plan has attention, options, init, fingerprint and sites of {known}."
            raise BadPlan(f"not a plan: {error}. {expected}") from None

    @property
    def head(self) -> str:
        """What goes to how many sites."""
        return f"{self.attention} at {len(self)} site{'s' * (len(self) != 1)}"

    @property
    def rows(self) -> list[tuple[str, ...]]:
        """A row for each site, under `COLUMNS`."""
        sites = self.sites
        return [
            (site.module or "(root)", site.after, site.place, site.shape, site.layout, *site.cost) for site in sites
        ]

    def __str__(self) -> str:
        rows = [COLUMNS, *self.rows]
        widths = [max(map(len, column)) for column in zip(*rows)]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]
        return "\n".join([self.head, *lines, *(f"note: {note}" for note in self.notes)])

    def _repr_html_(self) -> str:
        """The plan as notebooks show it."""
        return table(self.head, COLUMNS, self.rows, self.notes, faint=[not site.read for site in self.sites])

    @property
    def notes(self) -> list[str]:
        """What to know of these sites before training, a line each."""
        unread = [site.module for site in self.sites if not site.read]
        if not unread:
            return []
        modules = ", ".join(dict.fromkeys(unread))
        share = f"{len(unread)} of these {len(self)} sites" if len(unread) < len(self) else "any of these sites"
        reason = "behind it only a class token is read"
        return [f"the network's output does not depend on the map at {share} ({modules}): {reason}."]


def table(
    title: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    notes: Iterable[str] = (),
    *,
    faint: Iterable[bool],
) -> str:
    """A table that folds, in the colours of the notebook around it.

    Args:
        faint: for each row whether it is greyed, since nothing can be learned there.
    """
    head = "".join(f"<th{_side(name)}>{escape(name)}" for name in columns)
    body = []
    for row, is_faint in zip(rows, faint):
        cells = "".join(f"<td{_side(name)}>{escape(cell)}" for name, cell in zip(columns, row))
        body.append(f"<tr{' style=opacity:.6' if is_faint else ''}>{cells}")
    told = "".join(f"<p>{escape(note)}" for note in notes)
    inside = f"<table><thead><tr>{head}<tbody>{''.join(body)}</table>"
    return f"<details open><summary><b>{escape(title)}</b></summary>{inside}{told}</details>"


def _side(column: str) -> str:
    """Numbers to the right, names to the left; notebooks put all to the right."""
    return "" if column.startswith("+") or column == "opened" else ' style="text-align:left"'


def _matches(site: Site, patterns: Iterable[str]) -> bool:
    return any(lies_in(site.module, pattern) for pattern in patterns)


def opened_in_words(moved: Mapping[str, float | None]) -> str:
    """How far gates have opened, in a line."""
    known = {path: share for path, share in moved.items() if share is not None}
    if not known:
        return "how far the gates have opened can't be told here"
    least, most = (choose(known, key=lambda path: known[path]) for choose in (min, max))
    if not known[most]:
        return "all gates are closed: the network computes what it did without them"
    told = (
        f"gates change a map of noise by {median(known.values()):.2%}, from {known[least]:.2%} ({least}) to "
        f"{known[most]:.2%} ({most})"
    )
    if known[most] >= HARDLY:
        return told
    return f"{told}: hardly at all. Train longer, or the attention faster: surgeon.param_groups(model, lr=...)"
