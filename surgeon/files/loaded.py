"""A network that was taken in, and where it came from."""

from dataclasses import dataclass, field

from torch import nn

from surgeon.checkpoints.checkpoint import Checkpoint
from surgeon.files.recipe import Recipe
from surgeon.networks.blueprint import Base
from surgeon.trace.inputs import Arguments


@dataclass
class LoadedModel:
    """A network and where it came from.

    description: what it is and where its weights are from.
    checkpoint: the file it was read from, as it was; None for a library's network.
    prefix: what stood in front of the keys in that file.
    order: its keys, where they are in another order than the network's.
    recipe: that of a file which surgeon wrote.
    notes: what a reader should know.
    example: what it runs on, where somebody said so or the file has it.
    """

    model: nn.Module
    base: Base
    description: str
    checkpoint: Checkpoint | None = None
    prefix: str = ""
    order: tuple[str, ...] = ()
    recipe: Recipe | None = None
    notes: list[str] = field(default_factory=list)
    example: Arguments | None = None
