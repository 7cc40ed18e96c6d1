"""A training step of a gate by the passes, and by plain operators with autograd's own gradients."""

import torch

from surgeon.attention import build
from surgeon.attention.passes import factors, scan

FORMS = {
    "cbam": ("cbam", {}),
    "parallel": ("cbam", {"order": "parallel"}),
    "spatial-first": ("cbam", {"order": "spatial-first"}),
    "channel": ("cbam", {"branches": "channel"}),
    "spatial": ("cbam", {"branches": "spatial"}),
    "conv": ("cbam", {"pools": ("avg", "lse"), "maps": ("mean", "conv")}),
    "se": ("se", {}),
    "eca": ("eca", {}),
    "bam": ("bam", {}),
    "bam-sum": ("bam", {"form": "paper"}),
    "bam-max": ("bam", {"combine": "max"}),
    "bam-channel": ("bam", {"branches": "channel"}),
    "bam-spatial": ("bam", {"branches": "spatial"}),
}
SHAPES = [(3, 16, 12, 10), (1, 32, 8, 8), (2, 16, 7), (2, 8, 3, 5, 4), (2, 1, 6, 6), (2, 8, 1, 1)]


def plain(gate, x, g, monkeypatch):
    with monkeypatch.context() as patch:
        for module in (scan, factors):
            patch.setattr(module, "is_ours", lambda x: False)
        return outcome(gate, x, g)


def outcome(gate, x, g):
    """What a training step leaves: the map, its gradient, those of the weights, running statistics."""
    torch.manual_seed(0)
    x = x.detach().requires_grad_()
    gate.zero_grad()
    before = {name: tensor.clone() for name, tensor in gate.named_buffers()}
    y = gate(x)
    y.backward(g)
    after = {name: tensor.clone() for name, tensor in gate.named_buffers()}
    for name, tensor in gate.named_buffers():
        tensor.copy_(before[name])
    return {"y": y.detach(), "x": x.grad, **{name: weight.grad for name, weight in gate.named_parameters()}, **after}


def the_same(got, want, **tolerance):
    assert got.keys() == want.keys()
    for name, value in want.items():
        if value is None:
            assert got[name] is None, name
        else:
            torch.testing.assert_close(got[name], value, **tolerance, msg=lambda text, name=name: f"{name}: {text}")


def random(name, options, shape, dtype, init="paper"):
    gate = build(name, shape[1], init=init, dims=len(shape) - 2, **options).to(dtype).train()
    for weight in gate.parameters():
        weight.data.normal_(0, 0.5)
    # Many zeros: maxima that several positions and channels share.
    return gate, torch.randn(shape, dtype=dtype).relu(), torch.randn(shape, dtype=dtype)


def ordered(x, order):
    """The same numbers with the channels innermost in memory, as tokens behind a class token, or as they are."""
    if order == "last":
        return x.movedim(1, -1).contiguous().movedim(-1, 1)
    if order == "tokens":
        tokens = x.flatten(2).mT
        padded = torch.cat([tokens[:, :1], tokens], 1)
        return padded[:, 1:].mT.unflatten(2, x.shape[2:])
    return x
