"""The contract that every attention module keeps: same shape in and out, and at the start the same bits."""

from __future__ import annotations

import warnings
from typing import Any, Literal, NoReturn, TypedDict, get_args

import torch
from torch import Tensor, nn
from torch.fx import Proxy
from typing_extensions import Self

from surgeon.attention.layouts import Layout, Size
from surgeon.attention.mix import mixed
from surgeon.attention.options import choice, whole
from surgeon.attention.passes.axes import as_channels
from surgeon.attention.passes.capture import is_captured
from surgeon.attention.passes.choice import DEFAULT
from surgeon.attention.told import Told
from surgeon.errors import BadModel, FoldedAttention
from surgeon.sites import Site

# How a fresh gate starts.
Init = Literal["eager", "identity", "neutral", "paper"]
INITS: tuple[Init, ...] = get_args(Init)
# The starts that keep every bit of the network's output.
EXACT: tuple[Init, ...] = ("eager", "identity", "neutral")
# Those whose last layers are 0.
SILENT: tuple[Init, ...] = ("eager", "neutral")
# What the scores of an eager gate are multiplied by: its last layers learn as if their rate were that many times the
# network's under Adam, and its square under SGD. Chosen by docs/starts.md.
SLOPE = 10.0
# The rate of gates that start exactly and have no slope, in rates of the network.
SLOW = 10.0
# What `record` collects of one gate: under each name a tensor per call.
Maps = dict[str, list[Tensor]]


class Made(TypedDict):
    """What `build` made a gate from. `attention` is None where no text names it."""

    attention: str | None
    channels: int
    dims: int
    init: str
    instead: bool
    options: dict[str, Any]


class Gate(nn.Module):
    """One attention module in a network.

    A subclass says in `attend` what happens to a map of (N, C, *spatial); which axes the network's own
    values have is the business of `layout`.

    enabled: False lets every value pass untouched, as the same object.
    layout: the Layout of the values at this site; None for channels first.
    site: the Site that it was put at; None outside a network.
    made: what `build` made it from, as JSON values: attention, channels, dims, init, options.
    gamma: how far the published scale acts, shape (1,), 0 at the start with `init="identity"`; else None.
    gain: what the published scale is multiplied by, shape (1,), 2 with `init="neutral"` and `"eager"`; else None.
    slope: what the scores are multiplied by, shape (1,), 10 with `init="eager"`; else None.
    share: how far the attention has taken another module's place, shape (1,), 0 at the start; None where it takes none,
        or all of it.
    maps: where `record` collects the scores; None outside it.
    told: who tells it how high and wide the map of its tokens is, where its owner's forward does not know that.
    passes: what makes the passes over its map: "eager", torch's operators one by one, or "compiled".
    folded: True where `surgeon.fold` made it for deployment.
    operation: which operation on the network put it there, counted from 1; 0 outside a network.
    together: the paths of all gates that this operation put in, so that those which stay know of those which went.
    """

    # Read by torch.ao's quantization through torch.fx, to which a gate is one layer: without it, training for
    # quantization would exchange the layers inside, and not convert them.
    qconfig = None

    # No annotations here: torch.jit.trace evaluates those of a module's class, and knows few types.
    operation = 0
    # For gates from files that pickle wrote before there was a choice.
    passes = DEFAULT
    folded = False

    def __init__(self, channels: int, *, init: Init = "identity", dims: int = 2) -> None:
        super().__init__()
        self.channels = whole("channels", channels)
        self.dims = choice("dims", dims, (1, 2, 3))
        self.init = choice("init", init, INITS)
        self.enabled = True
        self.layout: Layout | None = None
        self.site: Site | None = None
        self.made: Made | None = None
        self.maps: Maps | None = None
        self.together: tuple[str, ...] = ()
        self.share: nn.Parameter | None = None
        self.told: Told | None = None
        self.passes = type(self).passes

    def forward(self, x: Tensor, old: Tensor | None = None, *, size: Size | None = None) -> Tensor:
        """The map `x` with attention; where it takes a module's place, `old` is what that module makes of `x`.

        Args:
            size: of the map of tokens, where the network knows it.
        """
        given = (x,) if old is None else (x, old)
        if isinstance(x, Proxy):
            # To whoever traces the network with torch.fx, attention is one node, not its operators.
            tracer: Any = x.tracer
            told = {} if size is None else {"size": size}
            return tracer.create_proxy("call_module", tracer.path_of_module(self), given, told)
        if not self.enabled:
            return given[-1]
        y = self.attend(x) if self.layout is None else self._attend_laid_out(x, self.layout, size)
        return y if old is None or self.share is None else mixed(old, y, self.share)

    def _attend_laid_out(self, x: Tensor, layout: Layout, size: Size | None) -> Tensor:
        if size is None and self.told is not None and self.weighs_positions and not is_captured():
            size = self.told.size_of(layout.length(x), self)
        return layout.restore(self.attend(layout.view(x, size, alike=not self.weighs_positions)), x)

    def train(self, mode: bool = True) -> Self:
        if mode and self.folded:
            warnings.warn(
                "this attention was folded for deployment, and trains as if its norms were frozen: train the network "
                "as it was before surgeon.fold.",
                FoldedAttention,
                stacklevel=2,
            )
        return super().train(mode)

    @property
    def pace(self) -> float:
        """The rate that its weights learn well with, in rates of the network around it, as docs/starts.md measured."""
        tensors = [*self.named_parameters(), *self.named_buffers()]
        names = {name.rpartition(".")[2] for name, _ in tensors if not name.startswith("inner.")}
        return SLOW if names & {"gamma", "gain", "share"} and "slope" not in names else 1.0

    @property
    def replaces_at_once(self) -> bool:
        """Whether what the attention takes the place of need not run."""
        return self.share is None and self.enabled

    @property
    def weighs_positions(self) -> bool:
        """Whether it matters where in the map something is; False where all positions get one score."""
        return True

    def attend(self, x: Tensor) -> Tensor:
        """The map `x` of (N, C, *spatial) with attention applied."""
        raise NotImplementedError

    def __prepare_scriptable__(self) -> NoReturn:
        # torch.jit.script asks this of every module first; its own refusal is pages long.
        name = type(getattr(self, "inner", self)).__name__
        raise BadModel(
            f"torch.jit.script can't compile attention ({name}): use torch.jit.trace or torch.export.export."
        )

    def extra_repr(self) -> str:
        return f"{self.channels}, init={self.init!r}" + ("" if self.enabled else ", disabled")

    def note(self, name: str, scale: Tensor) -> Tensor:
        """`scale` itself; while a recording runs, a copy of it on the CPU is kept under `name`."""
        if self.maps is not None:
            self.maps.setdefault(name, []).append(scale.detach().to("cpu", copy=True))
        return scale

    def note_channels(self, scale: Tensor, x: Tensor) -> Tensor:
        """The same of factors (N, C) of the map `x`."""
        if self.maps is not None:
            self.note("channel", as_channels(scale, x))
        return scale


def gamma(init: Init) -> nn.Parameter | None:
    """A new gate parameter at 0, or None where the start is another."""
    return nn.Parameter(torch.zeros(1)) if init == "identity" else None


def gain(init: Init) -> Tensor | None:
    """The number that makes 1 of sigmoid(0), for a buffer; or None where the start is another."""
    return torch.full((1,), 2.0) if init in SILENT else None


def slope(init: Init) -> Tensor | None:
    """How steep the scores are, for a buffer; or None where they are as the last layers give them."""
    return torch.full((1,), SLOPE) if init == "eager" else None


def silence(layer: nn.Module) -> None:
    """Make `layer` return zeros; its own weights have their full gradient from the first step on, as LoRA's have."""
    for weight in layer.parameters():
        nn.init.zeros_(weight)
