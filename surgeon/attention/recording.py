"""What the gates of a network decide, for pictures of attention and for asking which channels count."""

from contextlib import contextmanager

from surgeon.attention.switching import attention_modules


@contextmanager
def record(model):
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
    maps = {path: {} for path in gates}
    try:
        for path, gate in gates.items():
            gate.maps = maps[path]
        yield maps
    finally:
        for path, gate in gates.items():
            gate.maps = before[path]
