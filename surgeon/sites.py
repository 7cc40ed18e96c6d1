"""Where attention goes: a Site is one place in one model, a Plan is all of them.

Both are names and numbers only, never a node or a tensor, so that a plan can be printed, refined,
stored as JSON and applied to another copy of the same network.
"""

from dataclasses import asdict, dataclass, field, fields, replace
from fnmatch import fnmatchcase

from surgeon.errors import BadPlan


@dataclass(frozen=True)
class Site:
    """One value of a network that attention is to be applied to.

    module: path of the module that will own the attention, such as `layer1.0`.
    after: the value inside it: the name of a node in its forward (`bn3`), `output`, `output.0` for
        the first of several outputs, or `input` (`input.NAME` for another argument than the first, with the number of a
        leaf behind it where that is a collection).
    place: id of the rule that found it.
    channels: number of channels of the map.
    size: its height and width (or depth, height and width) on the example input.
    layout: order of its axes: NCHW, NHWC, NCDHW, NDHWC, NLC (tokens), NCL, NGLC or NCGL (tokens in windows).
    prefix: tokens in front of the map that belong to no pixel (class, register, distillation).
    parameters, macs: what the attention costs here: weights, and multiply-adds for one image.
    read: False where the network's output does not depend on the map (only a class token is read behind it).
    """

    module: str
    after: str
    place: str
    channels: int
    size: tuple[int, ...]
    layout: str = "NCHW"
    prefix: int = 0
    parameters: int = 0
    macs: int = 0
    read: bool = True

    def __str__(self):
        return f"{self.module or 'the model itself'}: after {self.after}"

    @property
    def shape(self):
        """The map as text: `256 x 56 x 56`, channels first."""
        return " x ".join(str(n) for n in (self.channels, *self.size))


@dataclass(frozen=True)
class Plan:
    """What will be done to a model, decided and not yet done.

    A plan is a sequence of sites: count it, print it, narrow it with `only` and `without`, then
    `surgeon.apply(model, plan)`.
    """

    attention: str
    sites: tuple[Site, ...]
    options: dict = field(default_factory=dict)
    init: str = "identity"
    fingerprint: str = ""
    # A class or callable that has no importable name lives only as long as the plan object.
    factory: object = field(default=None, compare=False, repr=False)

    def __len__(self):
        return len(self.sites)

    def __iter__(self):
        return iter(self.sites)

    def only(self, *patterns):
        """The plan narrowed to modules whose path matches one of the glob `patterns`."""
        return self._keep(patterns, lambda hit: hit)

    def without(self, *patterns):
        """The plan less the modules whose path matches one of the glob `patterns`."""
        return self._keep(patterns, lambda hit: not hit)

    def _keep(self, patterns, wanted):
        for pattern in patterns:
            if not any(fnmatchcase(site.module, pattern) for site in self.sites):
                raise BadPlan(f"{pattern!r} matches none of the {len(self)} sites of this plan: {self._paths()}.")
        hit = lambda site: any(fnmatchcase(site.module, pattern) for pattern in patterns)
        return replace(self, sites=tuple(site for site in self.sites if wanted(hit(site))))

    def _paths(self, most=6):
        paths = [site.module for site in self.sites]
        return ", ".join(paths[:most]) + (", ..." if len(paths) > most else "")

    def to_dict(self):
        """The plan as plain JSON values; `Plan.from_dict` reads it back."""
        return {
            "attention": self.attention,
            "options": dict(self.options),
            "init": self.init,
            "fingerprint": self.fingerprint,
            "sites": [asdict(site) | {"size": list(site.size)} for site in self.sites],
        }

    @classmethod
    def from_dict(cls, data):
        """The plan that `to_dict` wrote; anything else is a BadPlan."""
        try:
            sites = tuple(Site(**site | {"size": tuple(site["size"])}) for site in data["sites"])
            told = {key: data[key] for key in ("attention", "options", "init", "fingerprint")}
            if [type(value) for value in told.values()] != [str, dict, str, str]:
                raise TypeError("attention, init and fingerprint are texts, options a table")
            return cls(**told, sites=sites)
        except (KeyError, TypeError) as error:
            known = ", ".join(item.name for item in fields(Site))
            raise BadPlan(f"not a plan: {error}. A plan has attention, options, init, fingerprint and sites of {known}.") from None

    def __str__(self):
        head = f"{self.attention} at {len(self)} site{'s' * (len(self) != 1)}"
        rows = [("module", "after", "place", "channels x size", "layout", "+params", "+MACs")]
        rows += [(s.module or "(root)", s.after, s.place, s.shape, s.layout, f"{s.parameters:,}", f"{s.macs:,}") for s in self.sites]
        widths = [max(map(len, column)) for column in zip(*rows)]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]
        return "\n".join([head, *lines, *(f"note: {note}" for note in self.notes)])

    @property
    def notes(self):
        """What to know of these sites before training, a line each."""
        unread = [site.module for site in self.sites if not site.read]
        if not unread:
            return []
        where = ", ".join(dict.fromkeys(unread))
        share = f"{len(unread)} of these {len(self)} sites" if len(unread) < len(self) else "any of these sites"
        return [f"the network's output does not depend on the map at {share} ({where}): behind it only a class token is read."]
