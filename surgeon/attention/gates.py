"""The gates of a network: which they are, the network without them, and what they decide."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TypeVar

from torch import nn

from surgeon.attention.gate import Gate, Maps
from surgeon.errors import UnknownName
from surgeon.paths import lies_in

Model = TypeVar("Model", bound=nn.Module)


def attention_modules(model: nn.Module) -> dict[str, Gate]:
    """Every gate of `model` by its path, in the model's own order: `{"layer1.0.cbam": CBAM(...)}`."""
    return {path: module for path, module in model.named_modules() if isinstance(module, Gate)}


def attention_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """Every parameter of the gates by its path, each once: `{"layer1.0.cbam.channel.gamma": ...}`."""
    gates = attention_modules(model)
    return {f"{path}.{name}": weight for path, gate in gates.items() for name, weight in gate.named_parameters()}


def lost_attention(model: nn.Module) -> list[str]:
    """Paths at which an operation put attention that is not there any more, as far as what is left knows.

    Whoever takes another module in its place, or builds a part of the network anew, takes attention away with it.
    """
    gates = attention_modules(model)
    expected: dict[str, None] = {}
    for path, gate in gates.items():
        own = f"{gate.site.module if gate.site else ''}.{path.rpartition('.')[2]}".strip(".")
        prefix = path.removesuffix(own)
        # Where only a part of the network is at hand, nobody can tell.
        if path.endswith(own) and (not prefix or prefix.endswith(".")):
            expected.update(dict.fromkeys(prefix + other for other in gate.together))
    return [path for path in expected if path not in gates]


@contextmanager
def disabled(model: Model, *paths: str) -> Iterator[Model]:
    """Inside, the gates at `paths` let everything pass; all of them where none is given.

    Args:
        paths: globs over the paths of the gates, or of modules that hold them.

    Each gate's switch is as before afterwards, whatever happens inside. The switch is the network's and no thread's:
    whoever runs it meanwhile in another thread gets the original's answers too. (Give that thread a copy.deepcopy.)

    Raises:
        UnknownName: a pattern that matches no gate.

    >>> with disabled(model, "layer4"):
    ...     without_the_last_stage = model(images)
    >>> torch.equal(without_the_last_stage, model(images))  # a fresh gate changes nothing either
    True
    """
    gates = [*matching(attention_modules(model), paths).values()]
    before = [gate.enabled for gate in gates]
    try:
        for gate in gates:
            gate.enabled = False
        yield model
    finally:
        for gate, enabled in zip(gates, before):
            gate.enabled = enabled


def matching(gates: Mapping[str, Gate], patterns: Sequence[str]) -> dict[str, Gate]:
    """The gates whose path one of the `patterns` matches, or all of them without a pattern.

    Raises:
        UnknownName: a pattern that matches none.
    """
    for pattern in patterns:
        if not any(lies_in(path, pattern) for path in gates):
            found = ", ".join([*gates][:4]) + (", ..." if len(gates) > 4 else "") or "none"
            raise UnknownName(f"{pattern!r} matches none of the {len(gates)} attention modules: {found}.")
    wanted = lambda path: not patterns or any(lies_in(path, pattern) for pattern in patterns)
    return {path: gate for path, gate in gates.items() if wanted(path)}


@contextmanager
def record(model: nn.Module) -> Iterator[dict[str, Maps]]:
    """Inside, every forward pass of `model` leaves the factors its gates multiply by, on the CPU.

    Gives `{path: {"channel": [...], "spatial": [...]}}` with one tensor per call of the gate: (N, C, 1, 1) and
    (N, 1, H, W). They are the factors as applied: 1 while a gate is still at identity. BAM's one scale of
    (N, C, H, W) is given by its means over positions and over channels. A gate that has no such factor (a
    module that surgeon did not write) leaves nothing. Outputs do not change.

    >>> with record(model) as maps:
    ...     scores = model(images)
    >>> maps["layer1.0.cbam"]["channel"][0].mean((0, 2, 3)).shape  # one number per channel
    torch.Size([64])
    """
    gates = attention_modules(model)
    before = {path: gate.maps for path, gate in gates.items()}
    maps: dict[str, Maps] = {path: {} for path in gates}
    try:
        for path, gate in gates.items():
            gate.maps = maps[path]
        yield maps
    finally:
        for path, gate in gates.items():
            gate.maps = before[path]
