"""A network with attention beside its base, on the same images: what it brings, and what it costs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from surgeon.attention import attention_modules, disabled
from surgeon.errors import BadModel
from surgeon.pages.evidence.costs import ROUNDS, milliseconds, peak
from surgeon.pages.evidence.data import Data, labelled
from surgeon.pages.evidence.layout import aligned
from surgeon.pages.evidence.odds import chance, difference, interval
from surgeon.pages.evidence.scoring import Scores, Variant, scored
from surgeon.pages.render import render
from surgeon.surgery import again
from surgeon.version import VERSION

if TYPE_CHECKING:
    from torch import nn

# What is compared, in this order.
NAMES = ("base", "with attention", "attention off")
COLUMNS = ("", "accuracy", "95 %", "loss", "ms a batch", "MB of maps", "parameters")
# Below this chance a difference is called one.
SURE = 0.05


@dataclass(frozen=True)
class Side:
    """One network, or one state of it.

    right: images whose class it names. accuracy: their share. interval: of 95 % for it, by Wilson.
    loss: mean cross entropy. milliseconds: for a batch, the median. memory: most bytes of maps at one time.
    """

    name: str
    right: int
    accuracy: float
    interval: tuple[float, float]
    loss: float
    milliseconds: float
    memory: int
    parameters: int

    @property
    def row(self) -> tuple[str, ...]:
        least, most = self.interval
        return (
            self.name,
            f"{self.accuracy:.4f}",
            f"{least:.4f} to {most:.4f}",
            f"{self.loss:.4f}",
            f"{self.milliseconds:.1f}",
            f"{self.memory / 1e6:.1f}",
            f"{self.parameters:,}",
        )


@dataclass(frozen=True)
class Paired:
    """How a network's answers differ from another's on the same images.

    gained: right here and wrong there. lost: the other way round. difference: of the accuracies; interval: of 95 % for
    it, by Agresti and Min. chance: McNemar's exact test, two-sided.
    """

    name: str
    gained: int
    lost: int
    difference: float
    interval: tuple[float, float]
    chance: float

    def __str__(self) -> str:
        least, most = self.interval
        told = f"{self.name}: {self.difference:+.4f} (95 %: {least:+.4f} to {most:+.4f})"
        return f"{told}, {self.gained} gained and {self.lost} lost, p = {self.chance:.3g}: {self.verdict}"

    @property
    def verdict(self) -> str:
        """What the test says, in words."""
        if self.chance >= SURE:
            return "no difference that chance does not give as well"
        return "better" if self.difference > 0 else "worse"


@dataclass(frozen=True)
class Comparison:
    """A network with attention beside its base. Print it; `html` is the same as a page.

    sides: the base, the network with its attention, and the same with the attention switched off.
    paired: with attention against the base, and against the attention switched off.
    images: how many. batch: how many at a time, when time and memory were measured.
    """

    network: str
    data: str
    images: int
    batch: int
    sides: tuple[Side, ...]
    paired: tuple[Paired, ...]

    def __str__(self) -> str:
        return "\n".join([self.title, *aligned([COLUMNS, *(side.row for side in self.sides)]), *map(str, self.paired)])

    @property
    def title(self) -> str:
        """What was compared, on what."""
        return f"{self.network} on {self.images:,} images of {self.data}, {self.batch} at a time"

    def to_dict(self) -> dict[str, Any]:
        """All figures as plain values."""
        return asdict(self)

    def html(self) -> str:
        """The comparison as a page, in one file that asks nobody for anything."""
        least = min(side.interval[0] for side in self.sides)
        most = max(side.interval[1] for side in self.sides)
        return render(
            __package__, "comparison.html", found=self, columns=COLUMNS, least=least, span=most - least, version=VERSION
        )


def compare(
    base: nn.Module,
    model: nn.Module,
    data: Data,
    *,
    batch: int = 32,
    size: tuple[int, int] | None = None,
    rounds: int = ROUNDS,
    name: str | None = None,
) -> Comparison:
    """What the attention in `model` brings on labelled images, and what it costs: beside `base`, and switched off.

    Every image is seen by all, so that accuracies are compared in pairs. Both networks are as they were afterwards.

    Args:
        base: the network that `model` was before its operation, with whatever weights.
        data: `sample:digits`; a folder with a folder of images for each class; a pair of tensors; or batches of images
            and labels, as a DataLoader gives them.
        batch: images at a time, where that is not given.
        size: height and width that image files are brought to; what the network was made for if not given.
        rounds: runs of each network that are timed, in turn.
        name: what the network is called; the name of its class if not given.

    Raises:
        BadModel: `model` has no attention, or `base` has some. BadPlan: they are two networks.
        BadInput: no image, or a head for another number of classes.

    >>> model = surgeon.inject(surgeon.samples.load("digits"), "cbam")
    >>> found = compare(surgeon.samples.load("digits"), model, "sample:digits")
    >>> found.paired[0].gained, found.paired[0].lost
    (0, 0)
    """
    if not attention_modules(model):
        raise BadModel(f"this {type(model).__name__} has no attention to compare: surgeon.inject puts some in.")
    again.check_alike(base, model, again.plans(model))
    images = labelled(data, model, batch=batch, size=size)
    variants = (Variant(base), Variant(model), Variant(model, lambda: disabled(model)))
    scores = scored(images, variants)
    first = next(images.batches())[0]
    times = milliseconds(variants, first, rounds=rounds)
    counts = [_parameters(variant.model) for variant in variants]
    counts[2] = counts[0]
    sides = tuple(
        Side(called, sum(one.right), one.accuracy, interval(sum(one.right), len(one.right)), one.loss, took,
             peak(variant, first), count)
        for called, one, took, variant, count in zip(NAMES, scores, times, variants, counts)
    )  # fmt: skip
    pairs = tuple(_paired(f"against {NAMES[at]}", scores[1], scores[at]) for at in (0, 2))
    return Comparison(name or type(model).__name__, images.name, len(scores[0].right), len(first), sides, pairs)


def _parameters(model: nn.Module) -> int:
    return sum(weight.numel() for weight in model.parameters())


def _paired(name: str, one: Scores, other: Scores) -> Paired:
    gained = _count(here and not there for here, there in zip(one.right, other.right))
    lost = _count(there and not here for here, there in zip(one.right, other.right))
    count = len(one.right)
    return Paired(name, gained, lost, (gained - lost) / count, difference(gained, lost, count), chance(gained, lost))


def _count(claims: Iterable[bool]) -> int:
    return sum(1 for claim in claims if claim)
