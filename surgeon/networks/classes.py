"""Classes of networks by their import paths, as folders name them that were saved by a library."""

from __future__ import annotations

from importlib import import_module

from torch import nn

from surgeon.errors import BadFile

# Installed libraries whose classes of networks a file may name. Any other name would import code that the file chose.
TRUSTED = ("segmentation_models_pytorch", "transformers")


def class_of(name: str, *, allow_imports: bool = False) -> type[nn.Module]:
    """The class of networks that `name`, `package.module:Class`, stands for.

    Raises:
        BadFile: it is not one of a library that is trusted and `allow_imports` was not given, or not here.
    """
    module, _, path = name.partition(":")
    package = module.partition(".")[0]
    if package not in TRUSTED and not allow_imports:
        raise BadFile(
            f"the network {name!r} is somebody's own code, and loading would import it. If you trust the file: "
            f"surgeon.from_pretrained({path.rpartition('.')[2]}, folder), or surgeon.load(folder, allow_imports=True)."
        )
    try:
        # What such a library offers lies on its top; modules inside it are nobody's business.
        found = getattr(import_module(package if package in TRUSTED else module), path)
    except (ImportError, AttributeError) as error:
        raise BadFile(f"the network {name!r} is not to be had here: {error}.") from None
    if not (isinstance(found, type) and issubclass(found, nn.Module)):
        raise BadFile(f"{name!r} is no class of networks.")
    return found
