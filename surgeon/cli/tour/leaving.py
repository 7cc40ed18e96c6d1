"""What the tour leaves: a folder with the file, a page, the figures, and the same in Python."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from os import PathLike
from pathlib import Path

from surgeon.cli.tour.page import page
from surgeon.cli.tour.walk import FILE, Figures, Stop
from surgeon.errors import BadFile

NAMES = (FILE, "index.html", "tour.py", "figures.json")
PYTHON = f'''\
import surgeon
images, labels = surgeon.samples.digits("test")
model = surgeon.inject(surgeon.samples.load("digits"), "cbam", where="residual", check="output")  # the same bits
print(f"accuracy {{(model(images).argmax(1) == labels).float().mean():.3f}}")
surgeon.save(model, "{FILE}", force=True)
print(surgeon.report(surgeon.load("{FILE}")))
'''


def refuse_others(folder: str | PathLike[str]) -> None:
    """Refuse to replace anything but what an earlier tour left.

    Raises:
        BadFile: there is a file, or a folder with anything else in it.
    """
    path = Path(folder)
    if not path.exists():
        return
    others = sorted({file.name for file in path.iterdir()} - {*NAMES}) if path.is_dir() else [path.name]
    if others:
        raise BadFile(
            f"{folder} holds {others[0]!r}, which no tour left: nothing was touched. Elsewhere: surgeon tour -o FOLDER."
        )


def write(folder: Path, stops: Sequence[Stop], said: Sequence[str], figures: Figures) -> None:
    """Everything but the network's file, which the tour has written on its way."""
    (folder / "index.html").write_text(page(stops, said, figures), encoding="utf-8")
    (folder / "tour.py").write_text(PYTHON, encoding="utf-8")
    (folder / "figures.json").write_text(json.dumps(asdict(figures), indent=2) + "\n", encoding="utf-8")
