"""What a file of surgeon's says of itself: its recipe, and how large its tensors are. No network is built."""

from dataclasses import dataclass
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
    def attention(self):
        """The entries of the attention alone."""
        return {key: entry for key, entry in self.tensors.items() if self.recipe.is_attention(key)}


def read_label(path, *, allow_pickle=False):
    """The Label of the file at `path`; of a .safetensors without torch, whose import takes longer than all the rest.

    Raises:
        BadFile: damaged, or not written by surgeon.
    """
    if Path(path).suffix == ".safetensors" and not Path(path).is_dir():
        header = read_header(path)
        made = verified(header.metadata.get("surgeon"), header.metadata.get("surgeon_sha256"), str(path))
        return Label(made, strip_prefix(header.tensors, find_prefix(header.tensors, made.tensors))[0])
    from surgeon.files import intake

    own = intake.open_surgeon_file(path, allow_pickle=allow_pickle)
    return Label(own.recipe, {key: Entry(tuple(value.shape), value.nbytes) for key, value in own.tensors.items()})
