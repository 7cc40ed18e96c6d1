"""The grammar of rules: which words there are, and what each may be given.

One definition for three uses: rule files are checked against it, the JSON Schema for editors is
made from it, and so is the page on rules.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

# Pattern, and what it asks for in words.
NAME = r"^[A-Za-z_][A-Za-z0-9_\-]*$", "a name of letters, digits, _ and -"
CLASS = r"^[A-Za-z_]\w*(\.[A-Za-z_<][\w>]*)+$", "the full name of a class, such as torchvision.models.resnet.ResNet"
SOURCE = r"^[A-Za-z_][\w.]*:[\w.\-/]+$", "a network, such as torchvision:resnet50"

Name = Annotated[str, StringConstraints(pattern=NAME[0], max_length=60)]
ClassName = Annotated[str, StringConstraints(pattern=CLASS[0], max_length=200)]
Source = Annotated[str, StringConstraints(pattern=SOURCE[0], max_length=200)]
Line = Annotated[str, StringConstraints(min_length=1, max_length=500)]
# Empty is the model itself.
Path = Annotated[str, StringConstraints(max_length=200)]
Count = Annotated[int, Field(ge=0)]


def _refuse(word, told):
    """A complaint about one word; whoever reads the file finds its line."""
    return PydanticCustomError("meaning", "{told}", {"word": word, "told": told})


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Operand(_Strict):
    """One of the two operands of an operator."""

    convs: Literal["most", "fewest"] = Field(description="Which of the two: the one with `most` or `fewest` layers with weights on its way.")
    rank: Literal["map"] | None = Field(None, description="`map`: it must be a feature map.")
    origin: Literal["outside", "anywhere"] | None = Field(
        None, description="`outside`: the forward is handed it; both need not come from one value then. `anywhere`: further maps may come in on its way."
    )


class Find(_Strict):
    """What to look for; every word given must hold."""

    op: Name | None = Field(None, description="The operator that makes the value: `add`, `mul`, `cat`, ... Every spelling counts: `+`, `+=`, `torch.add` are `add`.")
    operands: dict[Name, Operand] | None = Field(None, alias="from", description="The two operands of a residual add, told apart by what is learned on the way to each, under names of your choice.")
    into: Literal["smaller", "pool"] | None = Field(None, description="What takes the value: `smaller`, a step that makes the map smaller; `pool`, the step that ends it.")
    beyond: Literal["stem"] | None = Field(None, description="`stem`: neither the image nor what the stem makes of it counts.")
    before: ClassName | None = Field(None, description="The full name of a class: a module of it takes the value.")
    rank: Literal["map"] | None = Field(None, description="`map`: the value is a feature map, in whatever layout (NCHW, NHWC, tokens, video).")
    value: Literal["image"] | None = Field(None, alias="is", description="`image`: what the network is given.")
    inside: Path | None = Field(None, description="Look only inside the child of this path; such as `backbone`.")
    keep: Literal["each", "outermost", "first", "last", "first of each size", "last of each size"] = Field(
        "each", description="Which of those found: `each`; `outermost`, none that lies inside another's branch; the `first`; the `last`; the `first` or `last of each size`."
    )

    @model_validator(mode="after")
    def _means_something(self):
        """Words that need or rule out one another."""
        subjects = [name for name, word in (("op", self.op), ("into", self.into), ("before", self.before), ("is", self.value)) if word]
        if not subjects:
            raise _refuse("", "'find' needs one of the words op, into, before or is: what to look at")
        if "is" in subjects and len(subjects) > 1:
            raise _refuse("is", f"'is' and {subjects[0]!r} contradict each other")
        if self.operands is not None and not self.op:
            raise _refuse("from", "'from' needs the word op: operands of what?")
        if self.operands is not None and sorted(o.convs for o in self.operands.values()) != ["fewest", "most"]:
            raise _refuse("from", "'from' needs two operands, one with convs: most and one with convs: fewest")
        if self.keep == "outermost" and self.operands is None:
            raise _refuse("keep", "'keep: outermost' needs the word from: inside which branch?")
        return self


class Rule(_Strict):
    """One place, as a rule file describes it."""

    id: Name = Field(description="The rule's name; one rule has it.")
    about: Line = Field(description="What the place is, in a sentence.")
    place: Name = Field("", description="What this is a rule for, such as `residual`; its id if not given.")
    source: str = Field("", max_length=500, description="Paper, figure, code: where the place is defined.")
    classes: tuple[ClassName, ...] = Field((), alias="for", description="Full names of the classes that it is for; inside them it wins over the general rule. Without any, it is general.")
    find: Find | None = Field(description="What to look for; empty if the classes it is for have no such place.")
    splice: str = Field("after value", max_length=80, description="Where attention goes: `after value`, `after` an operand by its name, or `before first use`.")
    pixels: Literal["shuffled"] | None = Field(None, description="`shuffled`: tokens of these classes do not lie row by row; attention sees them as a sequence.")
    expect: dict[Source, Count | tuple[Path, ...]] = Field({}, description="Networks, and how many sites the place has in each, or the paths of the modules that own them.")
    file: str = Field("", exclude=True)

    @model_validator(mode="after")
    def _splices_what_it_finds(self):
        if self.splice not in (known := self.splices()):
            raise _refuse("splice", f"'splice' can't be {self.splice!r}, only {' or '.join(map(repr, known))}")
        if self.find is None and not self.classes:
            raise _refuse("find", "'find' may be empty only in a rule for classes (the word for)")
        return self

    def splices(self):
        """What `splice` may be, given what the rule finds."""
        find = self.find
        if find and find.value:
            return ["before first use"]
        return ["after value", *(f"after {name}" for name in (find.operands or {} if find else {}))]

    def __str__(self):
        return f"{self.id} ({self.file})" if self.file else self.id


def words(model):
    """{word: description} of one level of the grammar, as files spell them."""
    return {field.alias or name: field.description for name, field in model.model_fields.items() if name != "file"}


def schema():
    """The grammar as JSON Schema, for editors."""
    found = Rule.model_json_schema(by_alias=True)
    del found["properties"]["file"]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **found, "title": "A rule of surgeon's"}
