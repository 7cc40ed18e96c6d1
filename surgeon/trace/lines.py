"""Lines of source: which line of a model's own code takes a step."""

from __future__ import annotations

import linecache
import sys
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import torch
from torch import nn

# Torch's code and surgeon's own stand between the model's line and the operator.
_NOT_THE_MODEL = tuple(f"{folder}/" for folder in (Path(torch.__file__).parent, Path(__file__).parents[1]))


@dataclass(frozen=True)
class Line:
    """A line of a source file, and its text."""

    file: str
    number: int

    @property
    def text(self) -> str:
        return linecache.getline(self.file, self.number).strip()

    def __str__(self) -> str:
        return f"{self.file}:{self.number}"


def line_of(module: nn.Module) -> Line | None:
    """The Line that a method of `module` has reached; None if that is none, or torch's own."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        names, file = frame.f_code.co_varnames[:1], frame.f_code.co_filename
        if names and frame.f_locals.get(names[0]) is module and not file.startswith(_NOT_THE_MODEL):
            return Line(file, frame.f_lineno)
        frame = frame.f_back
    return None
