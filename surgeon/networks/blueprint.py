"""What a network is built from, as names and numbers: a library's builder, its arguments, and what was set since."""

from dataclasses import dataclass, field

# The `library` of a Base that is somebody's own code, and of one that is a torch.export program.
CODE, PROGRAM = "code", "program"


@dataclass(frozen=True)
class Base:
    """A network as its library builds it: `torchvision:resnet50`, the constructor's arguments, and what was set otherwise since.

    library: `torchvision`, `timm`, CODE or PROGRAM. arguments: JSON values. settings: path of a module -> {name: number, text, or list of these}.
    """

    library: str
    name: str
    arguments: dict = field(default_factory=dict)
    settings: dict = field(default_factory=dict)

    def __str__(self):
        return self.name if self.library == CODE else f"{self.library}:{self.name}"
