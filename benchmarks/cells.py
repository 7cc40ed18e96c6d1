"""One network: every place x {cbam, bam}, operated on, run, compared to the bit, and restored."""

import gc
import time

import timm
import torch
import torchvision
from torch.utils._pytree import tree_leaves

import surgeon
from surgeon import errors, networks
from surgeon.trace.inputs import guesses
from surgeon.trace.outputs import same_bits

PLACES = ("residual", "bottleneck", "final", "input")
ATTENTION = ("cbam", "bam")
COLUMNS = (
    "network,family,parameters,place,attention,sites,eval,train,gradients,reached,restored,reason,detail,seconds".split(
        ","
    )
)
# Sides to try before a network's own, since what is compared are bits, not accuracy.
SMALL = (64, 128)
NOT_RUN = {"reason": "not-run", "detail": "looked at only"}
# Why a cell has no sites, or is not complete.
REASONS = {
    errors.NoSite: "no-such-place",
    errors.Untraceable: "untraceable",
    errors.BadInput: "no-input",
    errors.BadModule: "module-misfit",
    errors.CheckFailed: "changed",
}


def names(everything=False):
    """All of torchvision's networks and all of timm's, or the smallest of each timm file."""
    tv = [f"torchvision:{name}" for name in networks.names("torchvision")]
    if everything:
        return tv + [f"timm:{name}" for name in _timm()]
    files = {}
    for name in _timm():
        files.setdefault(family(f"timm:{name}"), []).append(name)
    return tv + [f"timm:{min(found, key=_size_in_words)}" for found in files.values()]


def _timm():
    """timm's own names; surgeon registers one there for its folders."""
    return [name for name in timm.list_models() if timm.model_entrypoint(name).__module__.startswith("timm.")]


def _size_in_words(name):
    """Sorts small networks of a file before large ones, by what their names say."""
    large = ("giant", "huge", "large", "xlarge", "_7b", "enormous", "gigantic", "base", "_l", "_m", "_b")
    small = ("pico", "atto", "femto", "nano", "tiny", "small", "test_", "_s", "_t", "18", "_b0", "_m0")
    return sum(word in name for word in large) - sum(word in name for word in small), len(name), name


def family(network):
    """timm's file; torchvision's module."""
    library, _, name = network.partition(":")
    if library == "timm":
        return timm.models._registry._model_to_module[name]
    return torchvision.models.get_model_builder(name).__module__.rpartition(".")[2]


def measured(network, limit):
    """All rows of one network; only looked at, if it has more parameters than `limit`."""
    torch.set_num_threads(1)
    try:
        model = networks.build(network, empty=True)
        count = sum(weight.numel() for weight in model.parameters())
        if count <= limit:
            del model
            torch.manual_seed(0)
            model = _no_zeros(networks.build(network))
    except Exception as error:  # whatever a constructor raises, the row says it
        return [_row(network, 0, "", "", reason="no-build", detail=_line(error))]
    before = _Subject(model, runs=count <= limit)
    cells = _run if count <= limit else _looked_at
    found = [_row(network, count, place, attention, **told) for place, attention, told in cells(before)]
    gc.collect()
    return found


def _no_zeros(model):
    """The model with noise in each weight that is all zeros: behind a branch that starts at zero no gate gets a gradient."""
    for weight in model.parameters():
        if not weight.any():
            torch.nn.init.normal_(weight, std=0.02)
    return model


def subject(model):
    """What attention goes into: of a detector, whose head needs real boxes, the backbone."""
    return model.backbone if type(model).__module__.startswith("torchvision.models.detection") else model


class _Subject:
    """A network, what it computes before any operation, and the input for that."""

    def __init__(self, model, runs):
        self.model = subject(model)
        self.input = _input(self.model) if runs else None
        if self.input is not None:
            self.eval = evaluated(self.model, self.input)
            self.train, self.gradients = trained(self.model, self.input)
            again, gradients = trained(self.model, self.input)
            self.repeats = same_bits(self.train, again) and same_bits(self.gradients.values(), gradients.values())
        self.before = _objects(self.model)


def _input(model):
    """The smallest image that the network takes, with noise for pixels."""
    shapes = guesses(model)
    small = [(*shapes[0][:-2], side, side) for side in SMALL if side <= shapes[0][-1]] if shapes else []
    for shape in (*small, *shapes):
        image = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0))
        try:
            trained(model, image)
            # A map of one pixel has no memory format of its own, and convolutions round their gradients by that.
            there = [place for place, count in surgeon.places(model, example_inputs=image).items() if count]
            sites = surgeon.plan(model, "cbam", where=there, example_inputs=image).sites
            if min(min(site.size[-2:]) for site in sites) > 1:
                return image
        except Exception:  # too small for it; the next one
            continue
    return None


def evaluated(model, image):
    """Outputs in eval mode."""
    model.eval()
    with torch.no_grad():
        return _tensors(model(image))


def trained(model, image):
    """Outputs and gradients in train mode, from the same seed and the same running statistics each time."""
    model.train().zero_grad(set_to_none=True)
    statistics = [(buffer, buffer.clone()) for buffer in model.buffers()]
    torch.manual_seed(1)
    outputs = _tensors(model(image))
    sum(output.float().square().mean() for output in outputs if output.requires_grad).backward()
    for buffer, value in statistics:
        buffer.copy_(value)
    gradients = {name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None}
    return [output.detach() for output in outputs], gradients


def _objects(model):
    """The tensors by key and the modules with their classes by path: what must come back."""
    tensors = {name: id(tensor) for name, tensor in (*model.named_parameters(), *model.named_buffers())}
    return list(tensors.items()), [(path, id(module), type(module)) for path, module in model.named_modules()]


def _tensors(result):
    return [
        leaf
        for leaf in tree_leaves(dict(result) if hasattr(result, "items") else result)
        if isinstance(leaf, torch.Tensor)
    ]


def _run(subject):
    """(place, attention, what came of it) for each cell: put in, compared, taken out."""
    for place in PLACES:
        for attention in ATTENTION:
            start = time.perf_counter()
            told = _there_and_back(
                subject, attention, place, lambda gates: {"sites": len(gates)} | _compared(subject, gates)
            )
            yield place, attention, told | {"seconds": f"{time.perf_counter() - start:.2f}"}


def _looked_at(subject):
    """As `_run` for a network too large for that: each attention goes to all the places at once, and out again."""
    found = surgeon.places(subject.model.eval())
    there = [place for place in PLACES if found[place]]
    told = {attention: _there_and_back(subject, attention, there, lambda gates: NOT_RUN) for attention in ATTENTION}
    for place in PLACES:
        absent = {} if found[place] else _there_and_back(subject, "cbam", place, lambda gates: NOT_RUN)
        for attention in ATTENTION:
            yield place, attention, absent or {"sites": found[place]} | told[attention]


def _there_and_back(subject, attention, where, compared):
    """Columns of a row: what `compared` finds with the attention in, and whether all is restored without it."""
    try:
        surgeon.inject(subject.model.eval(), attention, where=where)
        told = compared(surgeon.attention_modules(subject.model))
        surgeon.remove(subject.model)
        return told | {"restored": "yes" if _objects(subject.model) == subject.before else "NO"}
    except surgeon.SurgeonError as error:
        surgeon.remove(subject.model)
        return {"reason": REASONS.get(type(error), "crash"), "detail": _line(error)}
    except Exception as error:  # a crash of ours is a result too
        surgeon.remove(subject.model)
        return {"reason": "crash", "detail": f"{type(error).__name__}: {_line(error)}"}


def _compared(subject, gates):
    """Bits in eval and train mode, gradients of the old weights, and whether each gate learns."""
    if subject.input is None:
        return {"reason": "no-input", "detail": "runs on none of the images that surgeon guesses"}
    evaluation = same_bits(subject.eval, evaluated(subject.model, subject.input))
    outputs, gradients = trained(subject.model, subject.input)
    old = [gradients.get(name) for name in subject.gradients]
    kept = all(grad is not None for grad in old) and same_bits(subject.gradients.values(), old)
    missing = [path for path, gate in gates.items() if any(weight.grad is None for weight in gate.parameters())]
    idle = [
        path for path, gate in gates.items() if path not in missing and not any(w.grad.any() for w in gate.parameters())
    ]
    if idle:
        # A drop-path may have dropped just this branch.
        moved = _moved_in_eval(subject, gates)
        idle = [path for path in idle if path not in moved]
    told = {"eval": _said(evaluation), "train": _said(same_bits(subject.train, outputs)), "gradients": _said(kept)}
    if not subject.repeats:
        told |= {"train": "unrepeatable", "gradients": "unrepeatable"}
    told["reached"] = f"{len(gates) - len(missing) - len(idle)}/{len(gates)}"
    if missing or idle:
        silent = [gates[path].site for path in missing + idle]
        dead = [site for site in silent if site.read]
        told |= {
            "reason": "zero-gradient" if dead else "unread",
            "detail": f"no gradient but zero at {', '.join(map(str, dead or silent))}",
        }
    return told


def _moved_in_eval(subject, gates):
    """The gates that get a gradient when nothing is dropped."""
    subject.model.eval().zero_grad(set_to_none=True)
    outputs = _tensors(subject.model(subject.input))
    sum(output.float().square().mean() for output in outputs if output.requires_grad).backward()
    return {path for path, gate in gates.items() if any(w.grad is not None and w.grad.any() for w in gate.parameters())}


def _said(truth):
    return "same" if truth else "DIFFERENT"


def _row(network, count, place, attention, **more):
    return (
        dict.fromkeys(COLUMNS, "")
        | {"network": network, "family": family(network), "parameters": count, "place": place, "attention": attention}
        | more
    )


def _line(error):
    return " ".join(str(error).split())[:400]
