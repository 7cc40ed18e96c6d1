"""The grammar of rule files, made from the words.

One definition for three uses: rule files are checked against it, the JSON Schema for editors is
made from it, and so is the page on rules.
"""

from keyword import iskeyword
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, Field, create_model, model_validator
from pydantic_core import PydanticCustomError
from typing_extensions import Self

from surgeon.errors import BadOption
from surgeon.rulebook.arguments import ClassName, Count, Line, Name, Path, Source, Strict
from surgeon.rulebook.words import WORDS
from surgeon.trace.examples import parse


def _refuse(word: str, message: str) -> PydanticCustomError:
    """A complaint about one word; whoever reads the file finds its line."""
    return PydanticCustomError("meaning", "{message}", {"word": word, "message": message})


def _attribute(word: str) -> str:
    """What a word is called in Python, where `from` and `is` are reserved."""
    return f"{word}_" if iskeyword(word) else word


if TYPE_CHECKING:
    # A type checker can't know fields that are made from a table.
    _Words = Strict
else:
    _Words = create_model(
        "_Words",
        __base__=Strict,
        **{
            _attribute(name): (word.argument | None, Field(None, alias=name, description=word.about))
            for name, word in WORDS.items()
        },
    )


class Find(_Words):
    """What to look for; every word given must hold."""

    inside: Path | None = Field(None, description="Look only inside the child of this path; such as `backbone`.")
    keep: Literal["each", "blocks", "outermost", "first", "last", "first of each size", "last of each size"] = Field(
        "each",
        description="Which of those found: `each`; `blocks`, none that lies inside another's branch or around several "
        "blocks; `outermost`, none that lies inside another's branch, whatever that is; the `first`; the `last`; the "
        "`first` or `last of each size`.",
    )

    def words(self) -> dict[str, Any]:
        """Word -> its argument, for the words that the rule uses, in the order of the vocabulary."""
        arguments = {name: getattr(self, _attribute(name)) for name in WORDS}
        return {name: argument for name, argument in arguments.items() if argument is not None}

    @model_validator(mode="after")
    def _means_something(self) -> Self:
        """Words that need or rule out one another."""
        words = self.words()
        subjects = [name for name in words if WORDS[name].subjects]
        if not subjects:
            raise _refuse("", "'find' needs one of the words op, is, before, after, gate or into: what to look at")
        if "is" in subjects and len(subjects) > 1:
            other = next(name for name in subjects if name != "is")
            raise _refuse("is", f"'is' and {other!r} contradict each other")
        operands = words.get("from")
        if operands is not None and "op" not in words:
            raise _refuse("from", "'from' needs the word op: operands of what?")
        if operands is not None and sorted(operand.layers for operand in operands.values()) != ["fewest", "most"]:
            raise _refuse("from", "'from' needs two operands, one with layers: most and one with layers: fewest")
        if self.keep in ("blocks", "outermost") and operands is None:
            raise _refuse("keep", f"'keep: {self.keep}' needs the word from: inside which branch?")
        return self


class Rule(Strict):
    """One place, as a rule file describes it."""

    id: Name = Field(description="The rule's name; one rule has it.")
    about: Line = Field(description="What the place is, in a sentence.")
    place: Name = Field("", description="What this is a rule for, such as `residual`; its id if not given.")
    source: str = Field("", max_length=500, description="Paper, figure, code: where the place is defined.")
    classes: tuple[ClassName, ...] = Field(
        (),
        alias="for",
        description="Full names of the classes that it is for; inside them it wins over the general rule. "
        "Without any, it is general.",
    )
    find: Find | None = Field(description="What to look for; empty if the classes it is for have no such place.")
    splice: str = Field(
        "after value",
        max_length=80,
        description="Where attention goes: `after value`, `after` an operand by its name, or `before first use`.",
    )
    pixels: Literal["shuffled"] | None = Field(
        None,
        description="`shuffled`: tokens of these classes do not lie row by row; attention sees them as a sequence.",
    )
    example: str = Field(
        "",
        max_length=500,
        description="What networks of these classes are called with, where nobody says otherwise: "
        "`image=2x3x64x64 words=2x7:int64`.",
    )
    expect: dict[Source, Count | tuple[Path, ...]] = Field(
        {}, description="Networks, and how many sites the place has in each, or the paths of the modules that own them."
    )
    file: str = Field("", exclude=True)

    @model_validator(mode="after")
    def _splices_what_it_finds(self) -> Self:
        known = self.splices()
        if self.splice not in known:
            raise _refuse("splice", f"'splice' can't be {self.splice!r}, only {' or '.join(map(repr, known))}")
        if self.find is None and not self.classes:
            raise _refuse("find", "'find' may be empty only in a rule for classes (the word for)")
        return self

    @model_validator(mode="after")
    def _has_an_example_of_somebodys(self) -> Self:
        if self.example and not self.classes:
            raise _refuse("example", "'example' needs the word for: of which networks?")
        if self.example:
            try:
                parse(self.example, "'example'")
            except BadOption as error:
                raise _refuse("example", str(error).rstrip(".")) from None
        return self

    def splices(self) -> list[str]:
        """What `splice` may be, given what the rule finds."""
        words = self.find.words() if self.find else {}
        if "is" in words:
            return ["before first use"]
        return ["after value", *(f"after {name}" for name in words.get("from", ()))]

    def __str__(self) -> str:
        return f"{self.id} ({self.file})" if self.file else self.id


def words(model: type[BaseModel]) -> dict[str, str]:
    """{word: description} of one level of the grammar, as files spell them."""
    fields = {name: field for name, field in model.model_fields.items() if name != "file"}
    return {field.alias or name: field.description or "" for name, field in fields.items()}


def schema() -> dict[str, Any]:
    """The grammar as JSON Schema, for editors."""
    found = Rule.model_json_schema(by_alias=True)
    del found["properties"]["file"]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **found, "title": "A rule of surgeon's"}
