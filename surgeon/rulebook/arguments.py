"""What the words of rules may be given: names, classes, paths, and the operands of an add."""

from typing import Annotated, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, StringConstraints


class Pattern(NamedTuple):
    """A regular expression, and what it asks for in words."""

    regex: str
    meaning: str


NAME = Pattern(r"^[A-Za-z_][A-Za-z0-9_\-]*$", "a name of letters, digits, _ and -")
CLASS = Pattern(
    r"^[A-Za-z_]\w*(\.[A-Za-z_<][\w>]*)+$", "the full name of a class, such as torchvision.models.resnet.ResNet"
)
SOURCE = Pattern(r"^[A-Za-z_][\w.]*:[\w.\-/]+$", "a network, such as torchvision:resnet50")

Name = Annotated[str, StringConstraints(pattern=NAME.regex, max_length=60)]
ClassName = Annotated[str, StringConstraints(pattern=CLASS.regex, max_length=200)]
Source = Annotated[str, StringConstraints(pattern=SOURCE.regex, max_length=200)]
Line = Annotated[str, StringConstraints(min_length=1, max_length=500)]
# Empty is the model itself.
Path = Annotated[str, StringConstraints(max_length=200)]
Count = Annotated[int, Field(ge=0)]


class Strict(BaseModel):
    """A mapping of words, each known and each of its own type."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Operand(Strict):
    """One of the two operands of an operator."""

    layers: Literal["most", "fewest"] = Field(
        description="Which of the two: the one with `most` or `fewest` layers with weights on its way."
    )
    rank: Literal["map"] | None = Field(None, description="`map`: it must be a feature map.")
    origin: Literal["outside", "anywhere"] | None = Field(
        None,
        description="`outside`: the forward is handed it; both need not come from one value then. "
        "`anywhere`: further maps may come in on its way.",
    )


# Under names of the rule's choice.
Operands = dict[Name, Operand]
