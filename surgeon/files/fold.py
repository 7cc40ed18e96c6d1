"""A file of surgeon's as deployment wants it: its network folded, compared with what it was, and written."""

from dataclasses import dataclass
from os import PathLike

from torch import nn

from surgeon import operation
from surgeon.attention import attention_modules
from surgeon.errors import BadInput, BadModel, BadOption
from surgeon.files import formats, recipe
from surgeon.files.atomic import refuse_target
from surgeon.files.derive import recipe_of
from surgeon.files.loaded import LoadedModel
from surgeon.networks.samples import answered
from surgeon.trace.outputs import max_abs_diff


@dataclass(frozen=True)
class Folded:
    """What was done.

    gates: paths of the gates that are left. gone: of those that let everything pass.
    modules: how many there were in the network, and how many there are. distance: how far the output moved, by
    rounding; None where surgeon knows no image for the network. note: what there is to say of the file.
    """

    gates: tuple[str, ...]
    gone: tuple[str, ...]
    modules: tuple[int, int]
    distance: float | None
    note: str | None


def fold(loaded: LoadedModel, output: str | PathLike[str], *, format: str | None = None, force: bool = False) -> Folded:
    """Fold the network that was taken in, which is changed, and write it.

    Raises:
        BadOption: there is no attention in it. BadModel: it can't be folded, or nothing would be left of its attention.
    """
    formats.format_of(output, format)
    refuse_target(output, force)
    model, before = loaded.model, attention_modules(loaded.model)
    if not before:
        raise BadOption(f"there is no attention in {loaded.description}: surgeon inject puts some in.")
    count = _modules(model)
    try:
        expected = answered(model, loaded.example)
    except BadInput:
        expected = None
    after = attention_modules(operation.fold(model))
    if not after:
        raise BadModel("all of its attention lets everything pass, and is not needed: surgeon strip writes the rest.")
    distance = None
    if expected is not None:
        distance = max_abs_diff(expected.outputs, answered(model, expected.example).outputs)
    note = write_anew(loaded, output, format=format, force=force)
    gone = tuple(path for path in before if path not in after)
    return Folded(tuple(after), gone, (count, _modules(model)), distance, note)


def write_anew(
    loaded: LoadedModel, output: str | PathLike[str], *, format: str | None = None, force: bool = False
) -> str | None:
    """Write a network whose attention is another than in the file that it came from; returns what there is to say."""
    text = recipe.to_text(recipe_of(loaded.model, base=loaded.base, example=loaded.example))
    # The checkpoint that came in shows no shape that this one could have.
    return formats.write(loaded.model, text, output, format=format, force=force)


def _modules(model: nn.Module) -> int:
    return sum(1 for _ in model.modules())
