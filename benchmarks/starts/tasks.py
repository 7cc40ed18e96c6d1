"""Four tasks of real pixels that scikit-learn brings along: its handwritten digits, and its two photographs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits, load_sample_images
from sklearn.model_selection import train_test_split
from torch import Tensor

# Drawings of each training digit: an epoch sees one of them.
DRAWINGS = 8
# Pixels of a side of a digit, and of the fragments of others around it.
DIGIT, FRAGMENT = 16, 7
Draw = Callable[[Tensor, np.random.Generator], Tensor]


@dataclass(frozen=True)
class Task:
    """Images to learn from, and to judge by.

    training: (drawings, digits, channels, height, width). labels: one a digit.
    test: (images, channels, height, width). test_labels: one an image.
    """

    training: Tensor
    labels: Tensor
    test: Tensor
    test_labels: Tensor


@cache
def task(name: str) -> Task:
    """The task of that name, always of the same pixels."""
    draw, random = TASKS[name], np.random.default_rng(0)
    images, labels = load_digits(return_X_y=True)
    images = torch.tensor(images, dtype=torch.float32).reshape(-1, 1, 8, 8) / 16
    images = F.interpolate(images, size=DIGIT, mode="bilinear")
    training, test, training_labels, test_labels = train_test_split(
        images, torch.tensor(labels), test_size=0.3, random_state=0, stratify=labels
    )
    drawings = torch.stack([draw(training, random) for _ in range(DRAWINGS)])
    return Task(drawings, training_labels, draw(test, random), test_labels)


def plain(digits: Tensor, random: np.random.Generator) -> Tensor:
    """The digits alone."""
    return digits


def cluttered(digits: Tensor, random: np.random.Generator, side: int = 40, fragments: int = 8) -> Tensor:
    """Each digit at a random place of a large canvas, among fragments of others."""
    canvas = torch.zeros(len(digits), 1, side, side)
    for image in canvas:
        for _ in range(fragments):
            top, left = random.integers(0, DIGIT - FRAGMENT + 1, 2)
            other = digits[random.integers(len(digits)), :, top : top + FRAGMENT, left : left + FRAGMENT]
            _paste(image, other, random)
    for image, digit in zip(canvas, digits):
        _paste(image, digit, random)
    return canvas


def _paste(image: Tensor, piece: Tensor, random: np.random.Generator) -> None:
    """Put `piece` at a random place of `image`, over what is there."""
    side = piece.shape[-1]
    top, left = random.integers(0, image.shape[-1] - side + 1, 2)
    image[:, top : top + side, left : left + side] = torch.maximum(
        image[:, top : top + side, left : left + side], piece
    )


def noisy(digits: Tensor, random: np.random.Generator, side: int = 24) -> Tensor:
    """Each digit in a colour of its own on a piece of a photograph, and three channels of noise beside red, green, blue."""
    photographs = [torch.tensor(photo, dtype=torch.float32).permute(2, 0, 1) / 255 for photo in _photographs()]
    images = []
    for digit in digits:
        photo = photographs[random.integers(len(photographs))]
        top, left = (random.integers(length - side) for length in photo.shape[1:])
        image = photo[:, top : top + side, left : left + side] / 2
        row, column = random.integers(0, side - DIGIT + 1, 2)
        colour = torch.tensor(random.uniform(0.6, 1, 3), dtype=torch.float32).view(3, 1, 1)
        window = image[:, row : row + DIGIT, column : column + DIGIT]
        window += digit * (colour - window)
        images.append(image)
    noise = torch.tensor(random.random((len(digits), 3, side, side)), dtype=torch.float32)
    return torch.cat([torch.stack(images), noise], dim=1)


@cache
def _photographs() -> list[np.ndarray]:
    return load_sample_images().images


def unequal(digits: Tensor, random: np.random.Generator) -> Tensor:
    """Each digit with a contrast of its own between 2 % and all of it, on a grey of its own, with some noise."""
    contrast = torch.tensor(np.exp(random.uniform(np.log(0.02), 0, (len(digits), 1, 1, 1))), dtype=torch.float32)
    grey = torch.tensor(random.random((len(digits), 1, 1, 1)), dtype=torch.float32)
    noise = torch.tensor(random.normal(size=digits.shape), dtype=torch.float32)
    return grey + contrast * (digits - grey) + 0.01 * noise


def cued(digits: Tensor, random: np.random.Generator, cell: int = 8) -> Tensor:
    """A red and a green digit in two of four cells in a row; a block in a third has the colour of the one meant."""
    digits = F.interpolate(digits, size=cell, mode="area")[:, 0]
    images = torch.zeros(len(digits), 2, cell, 4, cell)
    for image, digit in zip(images, digits):
        cells, meant = random.permutation(4), int(random.integers(2))
        image[meant, :, cells[0]] = digit
        image[1 - meant, :, cells[1]] = digits[random.integers(len(digits))]
        image[meant, :, cells[2]] = 1
    return images.flatten(3)


TASKS: dict[str, Draw] = {"plain": plain, "cluttered": cluttered, "noisy": noisy, "unequal": unequal, "cued": cued}
