"""Each attention module once more, from its paper's formulas, in numpy and without a thought for speed.

`w` holds the weights by the names of `state_dict`. A gamma in it lets a scale s act as 1 + gamma * (s - 1).
"""

from itertools import product

import numpy as np

# Every form of every module that the papers and the project's documents name, as (attention, options).
FORMS = [
    ("cbam", {}),
    ("cbam", {"pools": ("avg",), "branches": "channel", "reduction": 1}),
    ("cbam", {"pools": ("lp", "lse"), "bias": False}),
    ("cbam", {"pools": ("avg", "max", "lp", "lse"), "kernel_size": 3}),
    ("cbam", {"branches": "spatial", "norm": False}),
    ("cbam", {"order": "spatial-first"}),
    ("cbam", {"order": "parallel", "reduction": 4}),
    ("cbam", {"maps": ("mean", "max"), "bias": False}),
    ("cbam", {"maps": ("conv",)}),
    ("bam", {}),
    ("bam", {"form": "paper"}),
    ("bam", {"reduction": 4, "dilation": 1, "combine": "max"}),
    ("bam", {"form": "paper", "dilation": 2, "convs": 1, "layers": 2}),
    ("bam", {"branches": "channel"}),
    ("bam", {"branches": "spatial", "convs": 0}),
    ("se", {}),
    ("se", {"reduction": 4, "bias": False}),
    ("eca", {}),
    ("eca", {"kernel_size": 7}),
]
NAMES = ["-".join([name, *(f"{k}={v}" for k, v in options.items())]) for name, options in FORMS]


def cbam(x, w, training, *, pools=("avg", "max"), branches="both", order="channel-first", maps=("max", "mean"), **_):
    def channel(x):
        return eased(sigmoid(sum(mlp(POOLS[p](x), w, "channel.") for p in pools)), w, "channel.")

    def spatial(x):
        score = convolved(np.stack([one_map(x, name, w) for name in maps], 1), w, "spatial.conv")
        return eased(sigmoid(normed(score, w, "spatial.bn", training)), w, "spatial.")

    if branches != "both":
        return times(x, {"channel": channel, "spatial": spatial}[branches](x))
    if order == "parallel":
        return times(times(x, channel(x)), spatial(x))
    first, second = (channel, spatial) if order == "channel-first" else (spatial, channel)
    y = times(x, first(x))
    return times(y, second(y))


def bam(x, w, training, *, form="released", dilation=4, combine=None, branches="both", convs=2, layers=1, **_):
    def channel():
        y = POOLS["avg"](x)
        for step in range(1, layers + 2):
            y = normed(
                y @ w[f"channel.fc{step}.weight"].T + w[f"channel.fc{step}.bias"], w, f"channel.bn{step}", training
            )
            y = np.maximum(y, 0) if step <= layers else y
        return y.reshape(*y.shape, *[1] * (x.ndim - 2))

    def spatial():
        y = x
        for step in range(1, convs + 3):
            y = convolved(y, w, f"spatial.conv{step}", dilation if 1 < step < convs + 2 else 1)
            y = normed(y, w, f"spatial.bn{step}", training)
            y = np.maximum(y, 0) if step < convs + 2 else y
        return y

    if branches != "both":
        score = {"channel": channel, "spatial": spatial}[branches]()
    else:
        combine = combine or {"released": "product", "paper": "sum"}[form]
        score = {"sum": np.add, "product": np.multiply, "max": np.maximum}[combine](channel(), spatial())
    return x + x * w.get("gamma", 1) * sigmoid(score)


def se(x, w, training, **_):
    return times(x, eased(sigmoid(mlp(POOLS["avg"](x), w)), w))


def eca(x, w, training, **_):
    kernel = w["conv.weight"][0, 0]
    padded = np.pad(POOLS["avg"](x), ((0, 0), (len(kernel) // 2,) * 2))
    scores = [padded[:, i : i + len(kernel)] @ kernel for i in range(x.shape[1])]
    return times(x, eased(sigmoid(np.stack(scores, 1)), w))


def flat(x):
    return x.reshape(*x.shape[:2], -1)


POOLS = {
    "avg": lambda x: flat(x).mean(-1),
    "max": lambda x: flat(x).max(-1),
    "lp": lambda x: np.sqrt((flat(x) ** 2).sum(-1)),
    "lse": lambda x: np.log(np.exp(flat(x)).sum(-1)),
}


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def mlp(x, w, prefix=""):
    hidden = np.maximum(x @ w[f"{prefix}fc1.weight"].T + w.get(f"{prefix}fc1.bias", 0), 0)
    return hidden @ w[f"{prefix}fc2.weight"].T + w.get(f"{prefix}fc2.bias", 0)


def eased(scale, w, prefix=""):
    return 1 + w.get(f"{prefix}gamma", 1) * (scale - 1)


def times(x, scale):
    """`x` times a scale per channel, (N, C), or per position, (N, 1, *spatial)."""
    return x * scale.reshape(*scale.shape, *[1] * (x.ndim - scale.ndim))


def one_map(x, name, w):
    if name == "conv":
        return np.einsum("nc...,c->n...", x, w["spatial.squeeze.weight"].reshape(-1))
    return {"max": x.max, "mean": x.mean}[name](axis=1)


def normed(x, w, key, training, eps=1e-5):
    """Batch normalisation over all axes but the channels; `x` itself where `w` has no such layer."""
    if f"{key}.weight" not in w:
        return x
    axes = tuple(i for i in range(x.ndim) if i != 1)
    mean, var = (x.mean(axes), x.var(axes)) if training else (w[f"{key}.running_mean"], w[f"{key}.running_var"])
    column = lambda v: v.reshape(-1, *[1] * (x.ndim - 2))
    return (x - column(mean)) / np.sqrt(column(var) + eps) * column(w[f"{key}.weight"]) + column(w[f"{key}.bias"])


def convolved(x, w, key, dilation=1):
    """A convolution that keeps the size of `x`: one product for each position of the kernel."""
    kernel, size = w[f"{key}.weight"], x.shape[2:]
    reach = [(n // 2) * dilation for n in kernel.shape[2:]]
    padded = np.pad(x, [(0, 0), (0, 0), *[(r, r) for r in reach]])
    y = np.zeros((x.shape[0], kernel.shape[0], *size))
    for offset in product(*map(range, kernel.shape[2:])):
        window = tuple(slice(o * dilation, o * dilation + n) for o, n in zip(offset, size))
        y += np.einsum("nc...,oc->no...", padded[(slice(None), slice(None), *window)], kernel[(..., *offset)])
    return y + w[f"{key}.bias"].reshape(-1, *[1] * len(size)) if f"{key}.bias" in w else y
