"""Cluttered digits: a digit at a random place of a large canvas among fragments of others; real pixels, a known place."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

import surgeon

# Pixels of a side: of the canvas, of a digit, of a fragment; and how many fragments lie on a canvas.
SIDE, DIGIT, FRAGMENT, FRAGMENTS = 64, 20, 8, 12


class Canvases(NamedTuple):
    """images: (N, 1, SIDE, SIDE) in [0, 1]. labels: N. boxes: (N, SIDE, SIDE), True where the digit's square is."""

    images: Tensor
    labels: Tensor
    boxes: Tensor


@cache
def small(split: str) -> tuple[Tensor, Tensor]:
    """The digits on board, as large as they are drawn."""
    images, labels = surgeon.samples.digits(split)
    return F.interpolate(images, size=DIGIT, mode="area"), labels


def drawn(split: str, draw: torch.Generator) -> Canvases:
    """A canvas for each digit of a split, the fragments at other places each time."""
    digits, labels = small(split)
    canvases = torch.zeros(len(digits), 1, SIDE, SIDE)
    boxes = torch.zeros(len(digits), SIDE, SIDE, dtype=torch.bool)
    for canvas, box, digit in zip(canvases, boxes, digits):
        for _ in range(FRAGMENTS):
            other = digits[_below(len(digits), draw)]
            top, left = _below(DIGIT - FRAGMENT + 1, draw), _below(DIGIT - FRAGMENT + 1, draw)
            _paste(canvas, other[:, top : top + FRAGMENT, left : left + FRAGMENT], draw)
        top, left = _paste(canvas, digit, draw)
        box[top : top + DIGIT, left : left + DIGIT] = True
    return Canvases(canvases, labels, boxes)


def _paste(canvas: Tensor, piece: Tensor, draw: torch.Generator) -> tuple[int, int]:
    """Put a piece somewhere on a canvas, over what is darker there; where its corner came to lie."""
    side = piece.shape[-1]
    top, left = _below(SIDE - side + 1, draw), _below(SIDE - side + 1, draw)
    place = canvas[:, top : top + side, left : left + side]
    torch.maximum(place, piece, out=place)
    return top, left


def _below(count: int, draw: torch.Generator) -> int:
    return int(torch.randint(count, (), generator=draw))
