"""The stops of the tour, in order: each does one thing to the network on board, and says what came of it."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

import surgeon
from surgeon.attention.opened import opened
from surgeon.cli.tour.tuning import EPOCHS, tune
from surgeon.errors import CheckFailed
from surgeon.samples.training import accuracy

# The file that the tour leaves.
FILE = "digits_cbam.safetensors"
# How many there are for testing.
IMAGES = 500
# With five seeds, fine-tuning got from 1 image fewer to 4 more of 500 right (python -m benchmarks.tour).
CHANCE = 5


@dataclass
class Figures:
    """What was measured on the way: accuracies are shares of the 500 test images, `opened` by how much each gate
    changes a map of noise, as a share of it.
    """

    before: float = 0.0
    put_in: float = 0.0
    same_bits: bool = False
    sites: int = 0
    paper: float = 0.0
    tuned: float = 0.0
    opened: dict[str, float] = field(default_factory=dict)
    tensors: int = 0
    is_original: bool = False


class Stop(NamedTuple):
    """One stop: its title, what it does with a Walk, whose sentence is shown, and the command that does it alone."""

    title: str
    do: Callable[[Walk], str]
    command: str


@dataclass
class Walk:
    """A tour under way.

    model: the network as it stands. folder: where files go. seed: of the attention's weights and the order of images.
    """

    model: nn.Module
    folder: Path
    seed: int = 0
    figures: Figures = field(default_factory=Figures)

    def __post_init__(self) -> None:
        self.images, self.labels = surgeon.samples.digits("test")
        self.original = copy.deepcopy(self.model)

    def accuracy(self, model: nn.Module) -> float:
        """The share of the test images that `model` names right."""
        return accuracy(model, self.images, self.labels)


def look(walk: Walk) -> str:
    """The network as it comes."""
    walk.figures.before = walk.accuracy(walk.model)
    weights = sum(weight.numel() for weight in walk.model.parameters())
    return (
        f"timm's test_resnet, {weights:,} weights, trained on 1,297 handwritten digits: "
        f"accuracy {walk.figures.before:.3f} on 500 others"
    )


def put_in(walk: Walk) -> str:
    """CBAM at every residual block: the same accuracy, and the same bits."""
    figures, before = walk.figures, _scores(walk.model, walk.images)
    torch.manual_seed(walk.seed)
    surgeon.inject(walk.model, "cbam", where="residual")
    figures.sites = len(surgeon.attention_modules(walk.model))
    figures.same_bits = torch.equal(_scores(walk.model, walk.images), before)
    figures.put_in = walk.accuracy(walk.model)
    if not figures.same_bits:
        raise CheckFailed("with untrained attention the scores differ from the original's. Please report it.")
    return (
        f"CBAM at {figures.sites} residual blocks: accuracy {figures.put_in:.3f}, "
        "all 5,000 scores the same, bit for bit"
    )


def publish(walk: Walk) -> str:
    """The same with the published start, on a copy."""
    torch.manual_seed(walk.seed)
    walk.figures.paper = walk.accuracy(surgeon.inject(copy.deepcopy(walk.original), "cbam", init="paper"))
    lost = walk.figures.before - walk.figures.paper
    return f"CBAM as published, untrained: accuracy {walk.figures.paper:.3f}, {lost:.3f} lost until it is trained again"


def fine_tune(walk: Walk) -> str:
    """Train the attention alone."""
    figures = walk.figures
    tune(walk.model, seed=walk.seed)
    figures.tuned = walk.accuracy(walk.model)
    figures.opened = {path: share for path, share in opened(walk.model).items() if share is not None}
    return (
        f"{EPOCHS} epochs of the attention alone: accuracy {figures.tuned:.3f}, {gain(figures)}; "
        f"gates now change noise by up to {max(figures.opened.values()):.0%}"
    )


def gain(figures: Figures) -> str:
    """What fine-tuning brought, in words."""
    images = round(IMAGES * (figures.tuned - figures.before))
    if images > CHANCE:
        return f"{images} more of 500 images right"
    if images > 0:
        return f"{images} more of 500 images right, which chance gives as well"
    return "fine-tuning gained nothing" + (f" and lost {-images} of 500 images" if images else "")


def write(walk: Walk) -> str:
    """The file, opened and verified by another process."""
    path = walk.folder / FILE
    surgeon.save(walk.model, path)
    command = [sys.executable, "-m", "surgeon.cli", "verify", str(path), "--json"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise CheckFailed(f"another process does not verify the file: {done.stderr.strip()}")
    proof = json.loads(done.stdout)
    walk.figures.tensors = proof["tensors that agree with their SHA-256"]
    return (
        f"{FILE}, {path.stat().st_size / 1e6:.1f} MB, opened in a fresh process: {walk.figures.tensors} tensors "
        f"agree with their SHA-256; without attention: {proof['without attention']}"
    )


def take_out(walk: Walk) -> str:
    """The attention stripped from the file: what is left are the tensors from before."""
    stripped = walk.folder / "digits.safetensors"
    surgeon.files.parts.strip(walk.folder / FILE, stripped)
    left, original = load_file(stripped), walk.original.state_dict()
    stripped.unlink()
    walk.figures.is_original = left.keys() == original.keys() and all(
        torch.equal(left[key], value) for key, value in original.items()
    )
    if not walk.figures.is_original:
        raise CheckFailed("what is left without the attention is not the original. Please report it.")
    return f"{len(left)} tensors are left, each of them the original's, bit for bit"


@contextmanager
def one_thread() -> Iterator[None]:
    """Inside, torch computes on one thread: for so small a network more of them only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@torch.no_grad()
def _scores(model: nn.Module, images: Tensor) -> Tensor:
    scores: Tensor = model.eval()(images)
    return scores


STOPS = (
    Stop("A trained network", look, "python -m surgeon.cli.tour accuracy sample:digits"),
    Stop("Attention put in", put_in, f"surgeon inject sample:digits --attention cbam --where residual -o {FILE}"),
    Stop(
        "Beside it, the published start",
        publish,
        "surgeon inject sample:digits --attention cbam --init paper -o digits_paper.safetensors",
    ),
    Stop("Fine-tuning", fine_tune, f"python -m surgeon.cli.tour tune {FILE} tuned.safetensors"),
    Stop("A file that says what it is", write, f"surgeon verify {FILE}"),
    Stop("Taken out again", take_out, f"surgeon strip {FILE} -o digits.safetensors"),
)
