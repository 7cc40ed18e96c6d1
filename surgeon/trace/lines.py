"""Lines of source: where in a model's own code a step is loaded."""

import linecache
import sys
from dataclasses import dataclass
from pathlib import Path

import torch

_OTHERS = tuple(f"{folder}/" for folder in (Path(torch.__file__).parent, Path(__file__).parents[1]))


@dataclass(frozen=True)
class Line:
    """A line of a source file, and its text."""

    file: str
    number: int

    @property
    def text(self):
        return linecache.getline(self.file, self.number).strip()

    def __str__(self):
        return f"{self.file}:{self.number}"


def line_of(module):
    """The Line that a method of `module` has reached; None if that is none, or torch's own."""
    frame = sys._getframe(1)
    while frame is not None:
        names = frame.f_code.co_varnames[:1]
        if names and frame.f_locals.get(names[0]) is module and not frame.f_code.co_filename.startswith(_OTHERS):
            return Line(frame.f_code.co_filename, frame.f_lineno)
        frame = frame.f_back
    return None
