"""What a network is built from, as names and numbers: a library's builder, its arguments, and what was set since."""

from dataclasses import dataclass, field
from typing import Any

# The `library` of a Base that is somebody's own code, and of one that is a torch.export program.
CODE, PROGRAM = "code", "program"

# Of a constructor, by name: JSON values, which a recipe can hold.
Arguments = dict[str, Any]
# Path of a module -> {name: number, text, or a list of these}.
Settings = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Base:
    """A network as its library builds it: `torchvision:resnet50`, the constructor's arguments, and what was set since.

    library: `torchvision`, `timm`, CODE or PROGRAM.
    settings: what somebody set on the modules after they were built.
    """

    library: str
    name: str
    arguments: Arguments = field(default_factory=dict)
    settings: Settings = field(default_factory=dict)

    def __str__(self) -> str:
        return self.name if self.library == CODE else f"{self.library}:{self.name}"
