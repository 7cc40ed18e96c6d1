"""Charts as SVG, the same bytes from the same table."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any


def pyplot_or_none(name: str) -> Any:
    """matplotlib's pyplot, set up; without matplotlib warn that the chart `name` stays as it is, and give None."""
    try:
        import matplotlib
    except ImportError:
        warnings.warn(f"{name} is as it was: matplotlib draws it (pip install -e '.[charts]').", stacklevel=3)
        return None
    matplotlib.use("svg")
    # So that two runs of one table draw the same file.
    matplotlib.rcParams["svg.hashsalt"] = name
    from matplotlib import pyplot

    return pyplot


def save(figure: Any, path: Path) -> None:
    """Write a figure."""
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
