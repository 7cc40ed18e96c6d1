"""Which sites are worth it: what is lost on labelled images when one gate is switched off."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import partial
from math import sqrt
from typing import TYPE_CHECKING, Any

from surgeon.attention import Gate, attention_modules, disabled
from surgeon.attention.costs import costed_sites
from surgeon.attention.opened import opened
from surgeon.attention.options import whole
from surgeon.errors import BadModel, BadOption
from surgeon.pages.evidence.data import Data, labelled
from surgeon.pages.evidence.layout import aligned
from surgeon.pages.evidence.odds import Z
from surgeon.pages.evidence.scoring import Scores, Variant, scored
from surgeon.pages.render import render
from surgeon.version import VERSION

if TYPE_CHECKING:
    from torch import nn

COLUMNS = ("site", "worth", "+-", "accuracy", "gamma", "opened", "+params", "+MACs", "")
# As long as the longest bar is in a table.
BAR = 24


@dataclass(frozen=True)
class Worth:
    """What one gate is worth.

    loss: by how much the mean loss rises when it is switched off; spread: half of the interval of 95 % for that, from
        the images in pairs. accuracy: by how much the accuracy falls.
    gamma: the mean of its gammas, or its share; None where it has none.
    opened: by what share it changes a map of noise.
    parameters, macs: what it costs.
    """

    path: str
    loss: float
    spread: float
    accuracy: float
    gamma: float | None
    opened: float | None
    parameters: int
    macs: int

    @property
    def row(self) -> tuple[str, ...]:
        gamma = "" if self.gamma is None else f"{self.gamma:.3f}"
        moved = "?" if self.opened is None else f"{self.opened:.2%}"
        costs = f"{self.parameters:,}", f"{self.macs:,}"
        return self.path, f"{self.loss:+.4f}", f"{self.spread:.4f}", f"{self.accuracy:+.4f}", gamma, moved, *costs


@dataclass(frozen=True)
class Ranking:
    """The sites of a network, those first whose gate is worth most. Print it; `html` is the same as a page.

    loss, accuracy: with all gates. off: the same two with all of them switched off.
    """

    network: str
    data: str
    images: int
    loss: float
    accuracy: float
    off: tuple[float, float]
    sites: tuple[Worth, ...]

    def best(self, count: int) -> tuple[str, ...]:
        """The paths of the `count` gates that are worth most.

        Raises:
            BadOption: there are not so many.
        """
        if whole("keep", count) > len(self.sites):
            raise BadOption(f"keep can't be {count}: there are {len(self.sites)} attention modules.")
        return tuple(worth.path for worth in self.sites[:count])

    def __str__(self) -> str:
        most = max(abs(worth.loss) for worth in self.sites)
        rows = [COLUMNS, *((*worth.row, _bar(worth.loss, most)) for worth in self.sites)]
        return "\n".join([self.title, *aligned(rows, left=(0, len(COLUMNS) - 1))])

    @property
    def title(self) -> str:
        """What was ranked, on what."""
        here = f"loss {self.loss:.4f} and accuracy {self.accuracy:.4f}"
        off = f"without attention {self.off[0]:.4f} and {self.off[1]:.4f}"
        return f"{self.network} on {self.images:,} images of {self.data}: {here}, {off}"

    def to_dict(self) -> dict[str, Any]:
        """All figures as plain values."""
        return asdict(self)

    def html(self) -> str:
        """The ranking as a page with a chart, in one file that asks nobody for anything."""
        ends = [end for worth in self.sites for end in (worth.loss - worth.spread, worth.loss + worth.spread)]
        least, most = min(0.0, *ends), max(0.0, *ends)
        span = most - least or 1.0
        return render(
            __package__, "ranking.html", found=self, columns=COLUMNS[:-1], least=least, span=span, version=VERSION
        )


def _bar(loss: float, most: float) -> str:
    return ("#" if loss > 0 else "-") * round(BAR * abs(loss) / most if most else 0)


def rank(
    model: nn.Module, data: Data, *, batch: int = 32, size: tuple[int, int] | None = None, name: str | None = None
) -> Ranking:
    """What each gate of `model` is worth on labelled images: what is lost when it alone is switched off.

    It takes a run for each gate, and two more. Gates that do the same work make each other look worthless: the ranking
    says what one is worth beside all others. The model is as it was afterwards.

    Args:
        data, batch, size: as for `surgeon.compare`.
        name: what the network is called; the name of its class if not given.

    Raises:
        BadModel: there is no attention. BadInput: no image, or a head for another number of classes.

    >>> found = rank(surgeon.inject(surgeon.samples.load("digits"), "cbam"), "sample:digits")
    >>> {worth.loss for worth in found.sites}
    {0.0}
    """
    gates = attention_modules(model)
    if not gates:
        raise BadModel(f"this {type(model).__name__} has no attention to rank: surgeon.inject puts some in.")
    images = labelled(data, model, batch=batch, size=size)
    states = [partial(disabled, model, path) for path in gates]
    variants = [Variant(model), Variant(model, lambda: disabled(model)), *(Variant(model, state) for state in states)]
    with_all, off, *without = scored(images, variants)
    costs, moved = costed_sites(model), opened(model)
    worths = []
    for (path, gate), scores in zip(gates.items(), without):
        site = costs.get(path)
        parameters = sum(weight.numel() for weight in gate.parameters())
        macs = site.macs or 0 if site else 0
        worths.append(Worth(path, *_lost(with_all, scores), _gamma(gate), moved[path], parameters, macs))
    worths.sort(key=lambda worth: -worth.loss)
    called = name or type(model).__name__
    count = len(with_all.right)
    return Ranking(
        called, images.name, count, with_all.loss, with_all.accuracy, (off.loss, off.accuracy), tuple(worths)
    )


def _lost(with_all: Scores, without: Scores) -> tuple[float, float, float]:
    """(by how much the loss rises, half of its interval, by how much the accuracy falls)"""
    differences = [there - here for here, there in zip(with_all.losses, without.losses)]
    mean, count = sum(differences) / len(differences), len(differences)
    variance = sum((one - mean) ** 2 for one in differences) / max(1, count - 1)
    return mean, Z * sqrt(variance / count), with_all.accuracy - without.accuracy


def _gamma(gate: Gate) -> float | None:
    names = {name: weight for name, weight in gate.named_parameters() if not name.startswith("inner.")}
    found = [weight.item() for name, weight in names.items() if name.rpartition(".")[2] in ("gamma", "share")]
    return sum(found) / len(found) if found else None
