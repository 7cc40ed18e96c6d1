"""One look at a model: its run on an example, the places in it, and its forwards as they are asked for."""

from contextlib import contextmanager

import torch
from torch import nn

from surgeon.anatomy.scene import Scene
from surgeon.errors import BadInput, BadModel, Untraceable
from surgeon.forward.alike import likeness, twin
from surgeon.forward.rewrite import rewritable
from surgeon.trace import inputs
from surgeon.trace.recorder import observe
from surgeon.trace.skeleton import skeleton
from surgeon.trace.state import same_numbers, still


class Observation:
    """What was seen of a model.

    model: the skeleton of the whole model. scene: the run, for rules to look at; of a detector that of its backbone.
    example: (args, kwargs) if they are the user's own, with numbers in them; None for a guess.
    hooks: whether it ran with its hooks, since it does not run without.
    """

    def __init__(self, model, graph, *, example=None, hooks=False):
        self.model = model
        self.scene = Scene(graph)
        self.example = example
        self.hooks = hooks
        self._forwards, self._kinds = {}, {}

    def rewrites(self, graph):
        """The forward of one recorded call as fx graphs; each is traced once.

        Raises:
            Untraceable: it can't be rewritten, or the module is called in several ways.
        """
        if graph not in self._forwards:
            alike = self._kinds.setdefault(likeness(graph), [])
            twins = (twin(self._forwards[old], old, graph) for old in alike)
            self._forwards[graph] = next(filter(None, twins), None) or rewritable(graph)
            alike.append(graph)
        return self._forwards[graph]

    def rewrites_of(self, path):
        """As `rewrites`, by the module's path; a module that is called several times does the same each time."""
        calls = [graph for graph in self.scene.graphs if graph.path == path]
        if not calls:
            raise Untraceable(f"{path}: the model does not run this module on the example input.")
        first, *others = (self.rewrites(graph) for graph in calls)
        if not all(other.does_as(first) for other in others):
            raise Untraceable(f"{path}: is called in several ways, and its forward differs between them.")
        return first


@contextmanager
def looking_at(model, example_inputs=None):
    """An Observation of `model`, made on a skeleton of it: the model itself is left alone."""
    refuse_wrapped(model)
    # What is made under a caller's inference mode has no versions to compare, and could never be trained.
    with torch.inference_mode(False), same_numbers():
        found, errors = _on_meta(model, example_inputs)
        # Some models compute with numbers while they run (`.item()`, tables in plain attributes): a
        # real run shows those, at the price of one forward.
        yield found or _for_real(model, example_inputs, errors)


def refuse_wrapped(model):
    """Refuse what is no module of the user's own, and say what to pass instead."""
    if not isinstance(model, nn.Module):
        raise BadModel(f"{type(model).__name__} is no nn.Module: pass the network itself.")
    kind = type(model).__name__
    if isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
        raise BadModel(f"{kind} is a wrapper: operate on model.module, and wrap it afterwards.")
    if isinstance(model, torch._dynamo.eval_frame.OptimizedModule):
        raise BadModel("this is a compiled model: operate on model._orig_mod, and compile it afterwards.")
    if getattr(model, "_compiled_call_impl", None) is not None:
        raise BadModel("this model was compiled in place: operate first, and call model.compile() afterwards.")
    if isinstance(model, torch.jit.ScriptModule):
        raise BadModel(f"{kind} is scripted, its forward can't be changed: operate on the model before torch.jit.script.")
    if isinstance(model, torch.fx.GraphModule):
        raise BadModel("this is a torch.fx GraphModule: operate on the model that it was traced from.")
    compiled = next((path for path, module in model.named_modules() if isinstance(module, torch._dynamo.eval_frame.OptimizedModule)), None)
    if compiled is not None:
        raise BadModel(f"{compiled!r} is a compiled model: put its _orig_mod there, and compile it afterwards.")
    lazy = next((path for path, module in model.named_modules() if isinstance(module, nn.modules.lazy.LazyModuleMixin) and module.has_uninitialized_params()), None)
    if lazy is not None:
        raise BadModel(f"{lazy!r} is lazy and has no weights yet: run the model once on an image first.")
    frozen = next((name for name, weight in model.named_parameters() if weight.is_inference()), None)
    if frozen is not None:
        raise BadModel(f"{frozen!r} was made under torch.inference_mode() and can never be trained: build the model outside of it.")


def _on_meta(model, example_inputs):
    errors, own, twin = [], _own(model, example_inputs), skeleton(model)
    for args, kwargs in _examples(model, example_inputs, "meta"):
        graph, error, hooks = _watch(twin, args, kwargs)
        if error is None:
            return Observation(twin, graph, example=own, hooks=hooks), errors
        errors.append((args, error))
        trunk = _finished_trunk(graph, error)
        if trunk is not None:
            return Observation(twin, trunk, hooks=hooks), errors
    return None, errors


def _watch(twin, args, kwargs):
    """(graph, error, whether hooks ran) of one attempt; what it leaves in caches must not be there at the next.

    Hooks that collect features for the network run only where it does not run without: what else a hook does, such
    as counting in a global, can't be told.
    """
    with still(twin):
        graph, error = observe(twin, args, kwargs)
        # Some are put there by the forward itself.
        has_hooks = any(module._forward_hooks or module._forward_pre_hooks for module in twin.modules())
    if error is None or not has_hooks:
        return graph, error, False
    with still(twin):
        again, other = observe(twin, args, kwargs, hooks=True)
    return (again, None, True) if other is None else (graph, error, False)


def _finished_trunk(graph, error):
    """Where a detector's head needs numbers (boxes), the backbone before it has run in full all the same."""
    needs_numbers = isinstance(error, NotImplementedError) or "meta" in str(error)
    children = [child for child in graph.children if child.finished] if graph and needs_numbers else []
    largest = max(children, key=lambda child: sum(1 for _ in child.module.modules()), default=None)
    total = sum(1 for _ in graph.module.modules()) if graph else 0
    return largest if largest and 2 * sum(1 for _ in largest.module.modules()) >= total else None


def _for_real(model, example_inputs, errors):
    if _device(model).type != "meta" and not inputs.is_without_numbers(example_inputs):
        twin = skeleton(model, numbers=True)
        for args, kwargs in _examples(model, example_inputs, _device(model)):
            graph, error, hooks = _watch(twin, args, kwargs)
            if error is None:
                return Observation(twin, graph, example=_own(model, example_inputs), hooks=hooks)
            errors.append((args, error))
    raise BadInput(_did_not_run(model, example_inputs, errors))


def _own(model, example_inputs):
    """The user's example on the model's device, if there is one with numbers in it."""
    if example_inputs is None or inputs.is_without_numbers(example_inputs):
        return None
    return inputs.given(example_inputs, _device(model))


def _device(model):
    return next((tensor.device for tensor in (*model.parameters(), *model.buffers())), torch.device("cpu"))


def _examples(model, example_inputs, device):
    if example_inputs is not None:
        return [inputs.given(example_inputs, device)]
    dtype = next((weight.dtype for weight in model.parameters() if weight.is_floating_point()), torch.float32)
    return [((torch.zeros(inputs.BATCH, *shape, dtype=dtype, device=device),), {}) for shape in inputs.guesses(model)]


def _did_not_run(model, example_inputs, errors):
    kind = type(model).__name__
    if not errors:
        return f"can't guess an input for {kind}: pass example_inputs=, such as torch.zeros(2, 3, 224, 224)."
    args, error = errors[0]
    shapes = ", ".join(" x ".join(map(str, arg.shape)) for arg in args if isinstance(arg, torch.Tensor))
    told = (str(error).strip() or type(error).__name__).splitlines()[0]
    hint = "" if example_inputs is not None else " Pass example_inputs= as the model takes them, such as torch.zeros(2, 3, 224, 224)."
    return f"{kind} does not run on an example input ({shapes or 'no tensor'}): {told}.{hint}"
