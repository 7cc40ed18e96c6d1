"""Watching a model run, on a skeleton of it: on shapes alone, or on numbers where it computes with some."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import nn

from surgeon.anatomy.observation import Observation
from surgeon.anatomy.wrapped import refuse_wrapped
from surgeon.errors import BadInput, SurgeonError
from surgeon.outside.torch import has_hooks
from surgeon.trace import inputs
from surgeon.trace.graph import Graph
from surgeon.trace.inputs import Arguments
from surgeon.trace.noise import noted, resolved
from surgeon.trace.recorder import observe
from surgeon.trace.skeleton import skeleton
from surgeon.trace.state import preserved, same_numbers


class _Failure(NamedTuple):
    """A run that stopped: what the model was called with, and the error."""

    args: tuple[Any, ...]
    error: Exception


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
