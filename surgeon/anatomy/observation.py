"""One look at a model: its run on an example, the places in it, and its forwards as they are asked for."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import nn

from surgeon.anatomy import sizes
from surgeon.anatomy.scene import Scene
from surgeon.attention.layouts import TOKENS
from surgeon.errors import BadInput, BadModel, SurgeonError, Untraceable
from surgeon.forward.alike import carried_over, kind_of
from surgeon.forward.kept import Kept, kept
from surgeon.forward.rewrite import Rewritable, rewritable
from surgeon.outside.torch import COMPILED, has_hooks, is_compiled, tree_map_only
from surgeon.trace import inputs
from surgeon.trace.graph import Graph
from surgeon.trace.inputs import Arguments
from surgeon.trace.noise import noted, resolved
from surgeon.trace.recorder import observe
from surgeon.trace.skeleton import skeleton
from surgeon.trace.state import preserved, same_numbers

if TYPE_CHECKING:
    from surgeon.forward.reading import Readings
    from surgeon.sites import Site


# Pixels on a side of the last map: two windows of two pixels fit in.
SMALL = 4


class _Failure(NamedTuple):
    """A run that stopped: what the model was called with, and the error."""

    args: tuple[Any, ...]
    error: Exception


class Observation:
    """What was seen of a model.

    model: the skeleton of the whole model. scene: the run, for rules to look at; of a detector that of its backbone.
    called: what it ran on. example: the user's own arguments, with numbers in them; None for a guess.
    hooks: whether it ran with its hooks, since it does not run without.
    was_guessed: whether nobody said what to run it on.
    """

    def __init__(
        self,
        model: nn.Module,
        graph: Graph,
        called: Arguments,
        *,
        example: Arguments | None = None,
        hooks: bool = False,
    ) -> None:
        self.model = model
        self.scene = Scene(graph)
        self.example = example
        self.hooks = hooks
        self.called = called
        self.was_guessed = False
        self._forwards: dict[Graph, Rewritable | Kept] = {}
        self._kinds: dict[Hashable, list[Graph]] = {}

    def readings(self, site: Site) -> Readings | None:
        """Where the owner of a site can read the size of the map that its tokens are; None where it can't."""
        found = self._tokens(site)
        return None if found is None else sizes.readings(found, self._again(found))

    def source(self, site: Site) -> sizes.Source | None:
        """What knows the size of the map of the tokens at a site; None if that is the same, whatever the image."""
        found = self._tokens(site)
        again = None if found is None else self._again(found)
        return None if found is None or again is None else sizes.source(found, again, self.scene.graph)

    @cached_property
    def larger(self) -> Scene | None:
        """The same on a larger image, if the last map is so small that windows of it may have one pixel; else None.

        One pixel, or one window, can't be told from an axis that counts something else. None as well where nobody said
        what to run on: the image is then as large as such networks take.
        """
        if self.was_guessed:
            return None
        ends = [self.scene.maps[step.value] for step in self.scene.steps[-1:]]
        if not any(found is not None and min(found.size) < SMALL for found in ends) or self._elsewhere is None:
            return None
        return Scene(self._elsewhere)

    def _again(self, tokens: sizes.Tokens) -> sizes.Tokens | None:
        """The same tokens in the run elsewhere."""
        return None if self._elsewhere is None else sizes.same(tokens, self._elsewhere)

    def _tokens(self, site: Site) -> sizes.Tokens | None:
        if site.layout not in TOKENS or len(site.size) < 2 or site.replaces:
            return None
        graph = next((graph for graph in self.scene.graphs if graph.path == site.module), None)
        if graph is None:
            return None
        is_inside = site.after.split(".")[0] not in ("input", "output")
        forward = self.rewrites_of(site.module) if is_inside else None
        value = sizes.named(site.after, graph, forward.names if forward else {})
        # Of a forward that is kept as it is nothing can be read but what it is given.
        names = forward.names if isinstance(forward, Rewritable) else {}
        return None if value is None else sizes.Tokens(value, site.layout, graph, names, is_inside)

    @cached_property
    def _elsewhere(self) -> Graph | None:
        """The run on an image of other proportions, which no number of pixels is the same in; None if there is none."""
        args, kwargs = tree_map_only(torch.Tensor, _larger, tuple(self.called))
        with preserved(self.model):
            graph, _ = observe(self.model, args, kwargs, hooks=self.hooks)
        return next((inner for inner in graph.walk() if inner.path == self.scene.graph.path and inner.finished), None)

    def rewrites(self, graph: Graph) -> Rewritable | Kept:
        """The forward of one recorded call as fx graphs, or kept as it is; each is traced once."""
        if graph not in self._forwards:
            alike = self._kinds.setdefault(kind_of(graph), [])
            try:
                self._forwards[graph] = self._as_before(graph, alike) or rewritable(graph)
                alike.append(graph)
            except Untraceable as reason:
                self._forwards[graph] = kept(graph, reason)
        return self._forwards[graph]

    def _as_before(self, graph: Graph, alike: list[Graph]) -> Rewritable | None:
        """The forward of a block that did the same as `graph`, with the names for its values; None if none did."""
        for old in alike:
            forward = self._forwards[old]
            assert isinstance(forward, Rewritable), "no other forward is alike"
            names = carried_over(forward.names, old, graph)
            if names is not None and forward.holds_for(graph.module):
                return replace(forward, names=names)
        return None

    def rewrites_of(self, path: str) -> Rewritable | Kept:
        """As `rewrites`, by the module's path.

        Raises:
            Untraceable: it is called several times, and does not do the same each time, or not at all.
        """
        calls = [graph for graph in self.scene.graphs if graph.path == path]
        if not calls:
            raise Untraceable(f"{path}: the model does not run this module on the example input.")
        first, *others = (self.rewrites(graph) for graph in calls)
        if not all(other.does_as(first) for other in others):
            raise Untraceable(f"{path}: is called in several ways, and its forward differs between them.")
        return first


def _larger(tensor: torch.Tensor) -> torch.Tensor:
    """Twice as many rows of pixels and four times as many columns, all even; anything that is no image as it is."""
    if tensor.dim() not in (4, 5) or not tensor.is_floating_point():
        return tensor
    *rest, height, width = tensor.shape
    return tensor.new_zeros((*rest, 2 * height, 4 * width))


@contextmanager
def observed(model: nn.Module, example_inputs: Any = None) -> Iterator[Observation]:
    """An Observation of `model`, made on a skeleton of it: the model itself is left alone."""
    refuse_wrapped(model)
    example_inputs = resolved(example_inputs, model)
    # What is made under a caller's inference mode has no versions to compare, and could never be trained.
    with torch.inference_mode(False), same_numbers():
        found, errors = _on_meta(model, example_inputs)
        # Some models compute with numbers while they run (`.item()`, tables in plain attributes): a
        # real run shows those, at the price of one forward.
        observation = found or _for_real(model, example_inputs, errors)
        observation.was_guessed = example_inputs is None
        yield observation


def run_of(model: nn.Module, example_inputs: Any = None) -> tuple[Graph, SurgeonError | None]:
    """All that a skeleton of `model` does with an example, its head too, and what attention in it refused half-way.

    Raises:
        BadInput: it does not run, for another reason.
    """
    refuse_wrapped(model)
    # Without an example, on what it was operated with.
    example_inputs = resolved(noted(model) if example_inputs is None else example_inputs, model)
    errors: list[_Failure] = []
    stopped: list[tuple[Graph, SurgeonError]] = []
    with torch.inference_mode(False), same_numbers():
        for device in dict.fromkeys(("meta", str(_device(model)))):
            if device != "meta" and inputs.is_without_numbers(example_inputs):
                break
            twin = skeleton(model, numbers=device != "meta")
            for args, kwargs in _examples(model, example_inputs, device):
                graph, error, _ = _watch(twin, args, kwargs)
                if error is None:
                    return graph, None
                errors.append(_Failure(args, error))
                stopped += [(graph, error)] if isinstance(error, SurgeonError) else []
    if stopped:
        return stopped[0]
    raise BadInput(_did_not_run(model, example_inputs, errors))


def refuse_wrapped(model: Any) -> None:
    """Refuse what is no module of the user's own, and say what to pass instead."""
    if not isinstance(model, nn.Module):
        raise BadModel(f"{type(model).__name__} is no nn.Module: pass the network itself.")
    kind = type(model).__name__
    if isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
        raise BadModel(f"{kind} is a wrapper: operate on model.module, and wrap it afterwards.")
    if is_compiled(model):
        raise BadModel("this is a compiled model: operate on model._orig_mod, and compile it afterwards.")
    if getattr(model, COMPILED, None) is not None:
        raise BadModel("this model was compiled in place: operate first, and call model.compile() afterwards.")
    if isinstance(model, torch.jit.ScriptModule):
        raise BadModel(
            f"{kind} is scripted, its forward can't be changed: operate on the model before torch.jit.script."
        )
    if isinstance(model, torch.fx.GraphModule):
        raise BadModel("this is a torch.fx GraphModule: operate on the model that it was traced from.")
    compiled = next((path for path, module in model.named_modules() if is_compiled(module)), None)
    if compiled is not None:
        raise BadModel(f"{compiled!r} is a compiled model: put its _orig_mod there, and compile it afterwards.")
    lazy = next((path for path, module in model.named_modules() if _is_lazy(module)), None)
    if lazy is not None:
        raise BadModel(f"{lazy!r} is lazy and has no weights yet: run the model once on an image first.")
    frozen = next((name for name, weight in model.named_parameters() if weight.is_inference()), None)
    if frozen is not None:
        raise BadModel(
            f"{frozen!r} was made under torch.inference_mode() and can never be trained: build the model outside of it."
        )


def _is_lazy(module: Any) -> bool:
    """True for a module that will only know the shapes of its weights when it has run."""
    is_lazy_class = isinstance(module, nn.modules.lazy.LazyModuleMixin)
    return is_lazy_class and module.has_uninitialized_params()


def _on_meta(model: nn.Module, example_inputs: Any) -> tuple[Observation | None, list[_Failure]]:
    """What is seen of a run on shapes alone; None if there was none, and the attempts that failed."""
    errors: list[_Failure] = []
    own, twin = _own(model, example_inputs), skeleton(model)
    for args, kwargs in _examples(model, example_inputs, "meta"):
        graph, error, hooks = _watch(twin, args, kwargs)
        if error is None:
            return Observation(twin, graph, Arguments(args, kwargs), example=own, hooks=hooks), errors
        errors.append(_Failure(args, error))
        trunk = _finished_trunk(graph, error)
        if trunk is not None:
            return Observation(twin, trunk, Arguments(args, kwargs), hooks=hooks), errors
    return None, errors


def _watch(twin: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Graph, Exception | None, bool]:
    """(graph, error, whether hooks ran) of one attempt; what it leaves in caches must not be there at the next.

    Hooks that collect features for the network run only where it does not run without: what else a hook does, such
    as counting in a global, can't be told.
    """
    with preserved(twin):
        graph, error = observe(twin, args, kwargs)
        # Some are put there by the forward itself.
        is_hooked = any(map(has_hooks, twin.modules()))
    if error is None or not is_hooked:
        return graph, error, False
    with preserved(twin):
        again, other = observe(twin, args, kwargs, hooks=True)
    return (again, None, True) if other is None else (graph, error, False)


def _finished_trunk(graph: Graph, error: Exception) -> Graph | None:
    """Where a detector's head needs numbers (boxes), the backbone before it has run in full all the same."""
    needs_numbers = isinstance(error, NotImplementedError) or "meta" in str(error)
    children = [child for child in graph.children if child.finished] if needs_numbers else []
    largest = max(children, key=_size, default=None)
    return largest if largest and 2 * _size(largest) >= _size(graph) else None


def _size(graph: Graph) -> int:
    """How many modules there are in the module that ran."""
    return sum(1 for _ in graph.module.modules())


def _for_real(model: nn.Module, example_inputs: Any, errors: list[_Failure]) -> Observation:
    """What is seen of a run on numbers.

    Raises:
        BadInput: the model does not run on any of the examples.
    """
    if _device(model).type != "meta" and not inputs.is_without_numbers(example_inputs):
        twin = skeleton(model, numbers=True)
        for args, kwargs in _examples(model, example_inputs, _device(model)):
            graph, error, hooks = _watch(twin, args, kwargs)
            if error is None:
                own = _own(model, example_inputs)
                return Observation(twin, graph, Arguments(args, kwargs), example=own, hooks=hooks)
            errors.append(_Failure(args, error))
    raise BadInput(_did_not_run(model, example_inputs, errors))


def _own(model: nn.Module, example_inputs: Any) -> Arguments | None:
    """The user's example on the model's device, if there is one with numbers in it."""
    if example_inputs is None or inputs.is_without_numbers(example_inputs):
        return None
    return inputs.given(example_inputs, _device(model))


def _device(model: nn.Module) -> torch.device:
    return next((tensor.device for tensor in (*model.parameters(), *model.buffers())), torch.device("cpu"))


def _examples(model: nn.Module, example_inputs: Any, device: torch.device | str) -> list[Arguments]:
    if example_inputs is not None:
        return [inputs.given(example_inputs, device)]
    dtype = next((weight.dtype for weight in model.parameters() if weight.is_floating_point()), torch.float32)
    shapes = ((inputs.BATCH, *shape) for shape in inputs.guesses(model))
    return [Arguments((torch.zeros(shape, dtype=dtype, device=device),), {}) for shape in shapes]


def _did_not_run(model: nn.Module, example_inputs: Any, errors: list[_Failure]) -> str:
    kind = type(model).__name__
    if not errors:
        return f"can't guess an input for {kind}: pass example_inputs=, such as torch.zeros(2, 3, 224, 224)."
    # Of guesses the likeliest comes first; of one example, the run on its numbers comes last.
    args, error = errors[0 if example_inputs is None else -1]
    shapes = ", ".join(" x ".join(map(str, arg.shape)) for arg in args if isinstance(arg, torch.Tensor))
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    hint = " Pass example_inputs= as the model takes them, such as torch.zeros(2, 3, 224, 224)."
    return (
        f"{kind} does not run on an example input ({shapes or 'no tensor'}): {reason}."
        f"{hint if example_inputs is None else ''}"
    )
