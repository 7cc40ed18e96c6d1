"""Which attention acts: told by a run of the network, gate by gate."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from surgeon.anatomy.watch import run_of
from surgeon.attention import attention_modules, lost_attention
from surgeon.forward.subclass import forward_of, grafts_of

if TYPE_CHECKING:
    from torch import nn

    from surgeon.attention import Gate


@dataclass(frozen=True)
class Activity:
    """What the attention in a network did during one run.

    calls: path of each attention module -> how often it acted. Those that are gone are among them.
    idle: path of each that did not act -> why, as far as that can be known.
    """

    calls: dict[str, int]
    idle: dict[str, str]

    @property
    def is_whole(self) -> bool:
        """True if all attention acts."""
        return not self.idle

    def __str__(self) -> str:
        if not self.calls:
            return "no attention"
        acting = len(self.calls) - len(self.idle)
        width = max(map(len, self.calls))
        lines = [f"{acting} of {len(self.calls)} attention modules act"]
        for path, count in self.calls.items():
            does = self.idle.get(path) or ("acts" if count == 1 else f"acts {count} times")
            lines.append(f"{path.ljust(width)}  {does if path not in self.idle else 'does not act: ' + does}")
        return "\n".join(lines)


def check(model: nn.Module, example_inputs: Any = None) -> Activity:
    """Which attention of `model` acts, found by a run on an example. Print it; the model is left as it is.

    Attention can stop acting after an operation: when its owner is replaced, its forward is set anew, or layers are
    merged.

    Args:
        example_inputs: what to run the model on, if surgeon can't guess: a tensor, a tuple, a dict.

    Raises:
        BadInput: the model does not run on the example input, or none could be guessed.

    >>> surgeon.check(model).is_whole
    True
    """
    gates = attention_modules(model)
    if not gates:
        return Activity({}, {})
    graph, error = run_of(model, example_inputs)
    ran = Counter(call.path for call in graph.walk() if call.finished)
    calls = {path: ran[path] if gate.enabled else 0 for path, gate in gates.items()}
    idle = {path: _why(model, path, gates[path], ran, error) for path, count in calls.items() if not count}
    lost = {path: _what_is_there(model, path) for path in lost_attention(model)}
    return Activity(calls | dict.fromkeys(lost, 0), idle | lost)


def _why(model: nn.Module, path: str, gate: Gate, ran: Counter[str], error: Exception | None) -> str:
    """Why a gate that is in the model did not act."""
    if not gate.enabled:
        return "it is switched off"
    name, owner = path.rpartition(".")[0], model.get_submodule(path.rpartition(".")[0])
    if error is not None:
        return f"the network stops at {error}"
    exchanged = vars(owner).get("forward")
    if exchanged is not None:
        told = getattr(exchanged, "__name__", type(exchanged).__name__)
        return f"the forward of {name or 'the model'} was replaced ({told}) by one that does not ask it"
    if not ran[name]:
        return f"{name or 'the model'} did not run on this example"
    if forward_of(owner) or len(grafts_of(owner)) > 1:
        return f"{name or 'the model'} ran, and took a way that does not lead through it"
    return f"the class of {name or 'the model'} is not the one that asks it any more"


def _what_is_there(model: nn.Module, path: str) -> str:
    """What became of the owner of a gate that is gone."""
    name = path.rpartition(".")[0]
    try:
        owner = model.get_submodule(name)
    except AttributeError:
        return f"it is gone, with {name}"
    return f"it is gone: {name or 'the model'} is a {type(owner).__name__} without it"
