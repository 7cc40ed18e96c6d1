"""What is tried: the rows of the tables in BAM's and CBAM's papers, and the starts here.

Published figures are errors in percent: BAM's with a ResNet-50 on CIFAR-100 (arXiv:1807.06514, tables 1 and 2), CBAM's with a
ResNet-50 on ImageNet (arXiv:1807.06521, tables 1 to 3). Only 24.56, 23.14 and 22.66 were compared with a second source.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Variant:
    """A network that is tried.

    attention: bam, cbam, or nothing. where: the place. options: of the module, beside a reduction of 4.
    blocks: how many ordinary blocks more there are, at the places where BAM would stand.
    """

    told: str
    attention: str = ""
    where: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    blocks: int = 0


@dataclass(frozen=True)
class Table:
    """One question. chosen: the row that the paper recommends. published: row -> its error there, where known."""

    title: str
    chosen: str
    rows: tuple[str, ...]
    published: Mapping[str, float] = field(default_factory=dict)


def _bam(told: str, where: str = "bottleneck", **options: Any) -> Variant:
    # The paper's form: it adds the branches; the released code multiplies them.
    return Variant(told, "bam", where, {"form": "paper"} | options)


def _cbam(told: str, **options: Any) -> Variant:
    return Variant(told, "cbam", "residual", options)


VARIANTS = {
    "none": Variant("no attention"),
    "bam": _bam("BAM as in the paper"),
    "bam dilation 1": _bam("dilation 1", dilation=1),
    "bam dilation 2": _bam("dilation 2", dilation=2),
    "bam dilation 6": _bam("dilation 6", dilation=6),
    "bam reduction 8": _bam("reduction 8", reduction=8),
    "bam reduction 16": _bam("reduction 16", reduction=16),
    "bam reduction 32": _bam("reduction 32", reduction=32),
    "bam channel": _bam("channel branch alone", branches="channel"),
    "bam spatial": _bam("spatial branch alone", branches="spatial"),
    "bam max": _bam("larger of the two", combine="max"),
    "bam product": _bam("product", combine="product"),
    "bam in-block": _bam("BAM in each residual block", where="residual"),
    "block": Variant("an ordinary block more instead", blocks=1),
    "cbam": _cbam("CBAM as in the paper"),
    "cbam channel avg": _cbam("average alone (SE)", branches="channel", pools="avg"),
    "cbam channel max": _cbam("maximum alone", branches="channel", pools="max"),
    "cbam channel": _cbam("channels alone", branches="channel"),
    "cbam conv 3": _cbam("kernel 3 on a 1x1 convolution", maps="conv", kernel_size=3),
    "cbam conv 7": _cbam("kernel 7 on a 1x1 convolution", maps="conv"),
    "cbam kernel 3": _cbam("kernel 3 on average and maximum", kernel_size=3),
    "cbam spatial-first": _cbam("positions first", order="spatial-first"),
    "cbam parallel": _cbam("both at once", order="parallel"),
    "cbam paper": _cbam('`init="paper"`', init="paper"),
    "cbam identity": _cbam('`init="identity"`', init="identity"),
    "cbam neutral": _cbam('`init="neutral"`', init="neutral"),
}
# What the paper's own choice is called among the others of a table.
CALLED = {
    ("dilation", "bam"): "dilation 4",
    ("reduction", "bam"): "reduction 4",
    ("branches", "bam"): "both branches",
    ("combine", "bam"): "sum",
    ("place", "bam"): "BAM at the bottlenecks",
    ("pools", "cbam channel"): "both pools",
    ("positions", "cbam"): "kernel 7 on average and maximum",
    ("order", "cbam"): "channels first",
    ("start", "cbam"): '`init="eager"`',
}
BAM, CBAM = {"none": 21.49, "bam": 20.00}, {"none": 24.56}
TABLES = {
    "dilation": Table("BAM: dilation", "bam", ("bam dilation 1", "bam dilation 2", "bam", "bam dilation 6"), BAM),
    "reduction": Table(
        "BAM: reduction",
        "bam",
        ("bam", "bam reduction 8", "bam reduction 16", "bam reduction 32"),
        {"none": 21.49, "bam reduction 16": 20.00},
    ),
    "branches": Table("BAM: branches", "bam", ("bam channel", "bam spatial", "bam"), BAM),
    "combine": Table("BAM: how the branches are combined", "bam", ("bam max", "bam product", "bam"), BAM),
    "place": Table("BAM: where, or a block instead", "bam", ("bam", "bam in-block", "block"), BAM),
    "pools": Table(
        "CBAM: pools of the channel scores",
        "cbam channel",
        ("cbam channel avg", "cbam channel max", "cbam channel"),
        CBAM | {"cbam channel avg": 23.14, "cbam channel max": 23.20, "cbam channel": 22.80},
    ),
    "positions": Table(
        "CBAM: channels alone, or positions behind them",
        "cbam",
        ("cbam channel", "cbam conv 3", "cbam conv 7", "cbam kernel 3", "cbam"),
        CBAM
        | {"cbam channel": 22.80, "cbam conv 3": 22.96, "cbam conv 7": 22.90, "cbam kernel 3": 22.68, "cbam": 22.66},
    ),
    "order": Table(
        "CBAM: order",
        "cbam",
        ("cbam", "cbam spatial-first", "cbam parallel"),
        CBAM | {"cbam": 22.66, "cbam spatial-first": 22.78, "cbam parallel": 22.95},
    ),
    "start": Table("CBAM: start", "cbam", ("cbam", "cbam paper", "cbam identity", "cbam neutral")),
}
