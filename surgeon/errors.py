"""Everything that surgeon refuses, as one tree: what, where, and what to type next."""

from collections.abc import Iterable
from difflib import get_close_matches


class SurgeonError(Exception):
    """Any refusal of surgeon's. `exit_code` is what the command ends with."""

    exit_code = 2


class UnknownName(SurgeonError):
    """An attention, place, option, word or model that nobody has heard of."""


class BadOption(SurgeonError):
    """An option that is known, with a value that it can't take."""


class BadRule(SurgeonError):
    """A rule file that can't be read or does not mean anything; names file and line."""


class BadModel(SurgeonError):
    """Not a model that can be operated on: wrapped, compiled, scripted, or no module at all."""


class BadInput(SurgeonError):
    """The model does not run on the example input, or none could be guessed."""


class BadPlan(SurgeonError):
    """A plan that does not belong to this model."""


class BadModule(SurgeonError):
    """An attention module that does not keep shape, dtype or device."""


class BadFile(SurgeonError):
    """A file that is damaged, incomplete, of another format, or not what it says it is."""


class NotInstalled(SurgeonError):
    """A package that only some of surgeon's functions need is not there; says what to install."""


class Untraceable(SurgeonError):
    """A forward that can't be rewritten; names the line that stopped the trace."""


class BadVersion(SurgeonError):
    """A release of a library that lacks what is asked for, or what surgeon needs of it."""


class NoSite(SurgeonError):
    """Nothing in this model is described by that rule."""

    exit_code = 1


class CheckFailed(SurgeonError):
    """The operation did not keep what it promises to keep. The model is as it was before."""

    exit_code = 3


class Interrupted(SurgeonError):
    """Somebody pressed Ctrl-C; says what is there now, and how to go on."""

    exit_code = 130


class FrozenAtZero(UserWarning):
    """A norm inside attention was frozen while its weight is 0: the layers before it would never learn."""


class NoDirection(UserWarning):
    """A weight of 0 inside attention is divided by its own norm: training would make NaN of all weights."""


class UntrainedAttention(UserWarning):
    """An optimizer that was made before the operation trains the network, and none trains the attention."""


class Unscheduled(UserWarning):
    """Attention was added to an optimizer whose learning rates a scheduler sets that does not know of it."""


class NoRecipe(UserWarning):
    """A network was saved whose attention can't be named in a file: loading it will not bring the attention back."""


class HardlyOpened(UserWarning):
    """Training has moved the attention so little that the network is as good as without it."""


class NotCompiled(UserWarning):
    """Attention stays as it is, since nothing can be compiled here."""


class FoldedAttention(UserWarning):
    """Attention that was folded for deployment is put into training mode: its norms and its start are gone."""


class UnusedSite(UserWarning):
    """The network's output depends on none of the maps that attention goes to: it would never learn."""


class LostAttention(UserWarning):
    """Attention that an operation put into a network is not there any more, and what is done now goes without it."""


def suggest(name: object, known: Iterable[str]) -> str:
    """A sentence that helps after a wrong name: the nearest known one, and all that there are.

    >>> suggest("cbma", ["bam", "cbam"])
    "Did you mean 'cbam'? Known: bam, cbam."
    """
    names = sorted(known)
    nearest = get_close_matches(str(name), names, n=1)
    guess = f"Did you mean {nearest[0]!r}? " if nearest else ""
    return f"{guess}Known: {', '.join(names)}."


# The oldest and the newest releases of the libraries that the tests were run with; setup.cfg asks for the oldest.
TRIED = {"torch": ("2.6", "2.14.1"), "torchvision": ("0.21", "0.29.1"), "timm": ("1.0.12", "1.0.31")}


def lacking(library: str, version: str, reason: str) -> BadVersion:
    """The refusal of a release of `library`; `reason` is what Python said of the name that is not there.

    >>> print(lacking("timm", "9.0", "cannot import name 'save_config' from 'timm.models._hub' (_hub.py)"))
    timm 9.0: cannot import name 'save_config' from 'timm.models._hub'. surgeon is tested from 1.0.12 to 1.0.31: ...
    """
    oldest, newest = TRIED[library]
    what = reason.partition(" (")[0]
    return BadVersion(
        f"{library} {version}: {what}. surgeon is tested from {oldest} to {newest}: pip install '{library}<={newest}'"
    )
