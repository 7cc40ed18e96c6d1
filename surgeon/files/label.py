"""What a file of surgeon's says of itself: its recipe, and how large its tensors are. No network is built."""

from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path

from surgeon.checkpoints.header import Entry, read_header
from surgeon.checkpoints.prefix import find_prefix, strip_prefix
from surgeon.files.recipe import Recipe, verified


@dataclass(frozen=True)
class Label:
    """recipe: how to build the network again. tensors: key -> Entry, under the network's own keys."""

    recipe: Recipe
    tensors: dict[str, Entry]

    @property
    def attention(self) -> dict[str, Entry]:
        """The entries of the attention alone."""
        return {key: entry for key, entry in self.tensors.items() if self.recipe.is_attention(key)}


def read_label(path: str | PathLike[str], *, allow_pickle: bool = False) -> Label:
    """The Label of the file at `path`; of a .safetensors without torch, whose import takes longer than all the rest.

    Raises:
        BadFile: damaged, or not written by surgeon.
    """
    if Path(path).suffix == ".safetensors" and not Path(path).is_dir():
        header = read_header(fspath(path))
        recipe = verified(header.metadata.get("surgeon"), header.metadata.get("surgeon_sha256"), str(path))
        own, _ = strip_prefix(header.tensors, find_prefix(header.tensors, recipe.tensors))
        return Label(recipe, own)
    from surgeon.files import intake

    opened = intake.open_surgeon_file(path, allow_pickle=allow_pickle)
    return Label(opened.recipe, {key: Entry(tuple(value.shape), value.nbytes) for key, value in opened.tensors.items()})
