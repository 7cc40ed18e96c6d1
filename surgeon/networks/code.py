"""Networks of the user's own: `package.module:Class`, or a function in its place, called with the user's arguments.

Importing runs code, so this is called only for a name that the user typed or allowed.
"""

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from torch import nn

from surgeon.errors import BadModel, UnknownName
from surgeon.networks.blueprint import Arguments

# In front of a colon these mean the library, or what surgeon brings, and no package of the user's.
LIBRARIES = ("timm", "torchvision", "sample")


def names_code(source: str | Path) -> bool:
    """True if `source` means somebody's code and not a library's network.

    >>> names_code("my_project.networks:Detector"), names_code("timm:resnet50"), names_code("weights.pth")
    (True, False, False)
    """
    module, colon, name = str(source).partition(":")
    parts = (*module.split("."), *name.split("."))
    return bool(colon) and module not in LIBRARIES and all(part.isidentifier() for part in parts)


def build(source: str, arguments: Arguments) -> nn.Module:
    """The network that `package.module:Class` makes, in evaluation mode; the module may lie in the current folder.

    Raises:
        UnknownName: no such module, or nothing of that name in it.
        BadModel: what it makes is no network.
    """
    sys.path.insert(0, "")
    try:
        model = _named(source)(**arguments)
    except (ImportError, AttributeError) as error:
        raise UnknownName(
            f"{source}: {error}. Write torchvision:NAME, timm:NAME, or package.module:Class of something that "
            "Python can import."
        ) from error
    except Exception as error:  # anyone's constructor may raise anything
        raise BadModel(
            f"{source} can't be called {_with(arguments)}: {type(error).__name__}: {error}. "
            "Name a function that makes the network."
        ) from error
    except SystemExit as error:
        raise BadModel(
            f"{source} ends the process when it is imported: put what it runs as a script under "
            "if __name__ == '__main__'."
        ) from error
    finally:
        if "" in sys.path:
            sys.path.remove("")
    if not isinstance(model, nn.Module):
        raise BadModel(f"{source} makes a {type(model).__name__}, not a network (an nn.Module).")
    return model.eval()


def _named(source: str) -> Any:
    """What stands in a module under the name that `source` gives."""
    module, _, name = source.partition(":")
    found: Any = import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    return found


def _with(arguments: Arguments) -> str:
    return f"with {', '.join(arguments)}" if arguments else "without arguments"
