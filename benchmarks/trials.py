"""One network of another library: each place looked for at four sizes, operated on, run, trained, taken out, saved, loaded."""

import inspect
import tempfile
import time
from pathlib import Path

import torch
from torch.utils._pytree import tree_map

import surgeon
from benchmarks import cells, makers, truth
from surgeon import errors
from surgeon.networks.blueprint import CODE, Base
from surgeon.trace.outputs import same_bits

PLACES = cells.PLACES
COLUMNS = (
    "network,parameters,place,expected,found,verdict,sizes,eval,train,gradients,reached,restored,saved,reason,detail,seconds"
).split(",")
# Height and width, in sides of the network's own: two sizes and two proportions.
SHAPES = ((1, 1), (1.5, 1.5), (1, 1.5), (1.5, 1))

# Parameters up to which a network is saved with attention at each of its places, and not at one alone.
SAVED_OFTEN = 1_000_000


def made(network):
    """A network by its name in clients.yaml, the same weights each time; what a saved file names as its maker."""
    entry = truth.listed()["networks"][network]
    torch.manual_seed(0)
    make = dict(entry["make"])
    return getattr(makers, make.pop("by"))(**make)


def measured(network):
    """All rows of one network."""
    torch.set_num_threads(1)
    entry = truth.listed()["networks"][network]
    try:
        model = cells._no_zeros(made(network).eval())
    except Exception as error:  # whatever a constructor raises, the row says it
        return [_row(network, 0, "", "", verdict="no-build", detail=cells._line(error))]
    subject = Subject(network, model, _examples(entry))
    if not subject.before:
        return [_row(network, 0, "", "", verdict="no-run", detail="does not run on its own examples")]
    return [
        _row(network, subject.size, place, truth.expected(place, entry, model), **subject.tried(place, entry))
        for place in PLACES
    ]


def _examples(entry):
    """Arguments (positional, keywords) for each of SHAPES that the entry allows."""
    side, generator = entry.get("side", 64), torch.Generator().manual_seed(0)
    shapes = SHAPES[:1] if entry.get("fixed") else SHAPES

    def tensor(shape, height, width):
        if shape[0] == "ids":
            return torch.randint(1, int(shape[1]), (2, int(shape[2])), generator=generator)
        sides = {"h": height, "w": width}
        return torch.randn(2, *(sides.get(n) or int(n) for n in shape), generator=generator)

    for high, wide in shapes:
        given = entry.get("input", [3, "h", "w"])
        filled = tree_map(
            lambda leaf, sides=(int(high * side), int(wide * side)): tensor(leaf.split(), *sides), _as_text(given)
        )
        yield (
            ((), filled) if isinstance(filled, dict) else (tuple(filled) if isinstance(filled, list) else (filled,), {})
        )


def _as_text(given):
    """Shapes, in lists or under keywords, as texts, which are leaves to a walk through lists."""
    if isinstance(given, dict):
        return {name: _as_text(shape) for name, shape in given.items()}
    if any(isinstance(item, list) for item in given):
        return [_as_text(shape) for shape in given]
    return " ".join(map(str, given))


# Of the network's largest gradient: how far one may lie from what it was, where it is only summed in another order.
ROUNDING = 1e-5


def _compared(before, now):
    """`same` to the bit; `rounded`, where gradients differ by the order of a sum alone; or DIFFERENT."""
    if any(grad is None for grad in now):
        return "DIFFERENT"
    if same_bits(before, now):
        return "same"
    # That of a bias in front of a norm is 0 but for rounding.
    largest = max(float(old.abs().max()) for old in before)
    distance = max(float((old - new).abs().max()) for old, new in zip(before, now))
    return "rounded" if distance <= ROUNDING * largest else "DIFFERENT"


class Example:
    """Arguments of one call, what the plain network answers, and whether it runs on them at all."""

    def __init__(self, arguments):
        self.args, self.kwargs = arguments

    @property
    def given(self):
        """As `example_inputs=` takes it."""
        return self.kwargs or self.args

    def answer(self, model):
        """Outputs in eval mode, of inputs that nobody changed in place."""
        model.eval()
        args, kwargs = tree_map(lambda leaf: leaf.clone(), (self.args, self.kwargs))
        # Some draw a mask in every mode.
        torch.manual_seed(1)
        with torch.no_grad():
            return cells._tensors(model(*args, **kwargs))


class Subject:
    """A network, and what it computed before any operation."""

    def __init__(self, network, model, examples):
        self.network, self.model = network, model
        self.before = {}
        for example in map(Example, examples):
            try:
                self.before[example] = example.answer(model)
            except Exception:  # a size that the network itself refuses
                continue
        self.first = next(iter(self.before), None)
        self.size, self.saved = sum(weight.numel() for weight in model.parameters()), False
        self.objects = cells._objects(model)
        self.training = self._trains()
        self._counts = {}

    def _trains(self):
        """Whether it can be trained on its first example without anything else, and the same answer twice."""
        if self.first is None:
            return None
        try:
            outputs, gradients = self._trained()
            again, others = self._trained()
        except Exception:  # one that wants labels, or larger images
            return None
        repeats = same_bits(outputs, again) and same_bits(gradients.values(), others.values())
        return outputs, gradients, repeats

    def _trained(self):
        call = _Called(self.model, self.first)
        return cells.trained(call, None)

    def tried(self, place, entry):
        """Columns of a row: what came of this place."""
        start = time.perf_counter()
        told = self._tried(place, entry)
        return told | {"seconds": f"{time.perf_counter() - start:.2f}"}

    def _tried(self, place, entry):
        expected = truth.expected(place, entry, self.model)
        try:
            plan = surgeon.plan(self.model.eval(), "cbam", where=place, example_inputs=self.first.given)
        except surgeon.SurgeonError as error:
            right = isinstance(error, errors.NoSite) and not truth.number(expected)
            return {
                "found": 0,
                "verdict": "right" if right else "refused",
                "reason": cells.REASONS.get(type(error), "refused"),
                "detail": cells._line(error),
            }
        except Exception as error:
            return {"verdict": "crash", "reason": "crash", "detail": f"{type(error).__name__}: {cells._line(error)}"}
        paths = [site.module for site in plan.sites]
        told = {"found": " ".join(paths) if place in ("bottleneck", "final") else len(paths)}
        is_right = truth.agrees(expected, plan.sites, self.model, self.first.given)
        told["verdict"] = "right" if is_right else "WRONG"
        told |= self._at_other_sizes(place, len(paths))
        if told["sizes"].startswith("DIFFERENT") and told["verdict"] == "right":
            told["verdict"] = "WRONG"
        more = self._there_and_back(place)
        # Where the sites are other ones than the source says, it does not matter how well they work.
        return told | more | ({"verdict": "WRONG"} if told["verdict"] == "WRONG" else {})

    def _at_other_sizes(self, place, count):
        """At how many of the sizes the place has as many sites as at the first."""
        found = {number: self._count(example).get(place) for number, example in enumerate(self.before)}
        differing = {number: other for number, other in found.items() if other not in (count, None)}
        refused = sum(other is None for other in found.values())
        said = f"{len(found) - refused}/{len(found)}"
        return {"sizes": f"DIFFERENT: {differing}" if differing else said}

    def _count(self, example):
        """Sites per place at this size; empty where surgeon refuses it."""
        if example not in self._counts:
            try:
                self._counts[example] = surgeon.places(self.model.eval(), example_inputs=example.given)
            except Exception:  # the first size says why in its own row
                self._counts[example] = {}
        return self._counts[example]

    def _there_and_back(self, place):
        model = self.model
        try:
            surgeon.inject(model.eval(), "cbam", where=place, example_inputs=self.first.given)
            try:
                more = self._compared() | (self._saved() if self._is_to_be_saved() else {})
            except Exception as error:  # after an operation nothing may fail that did not before
                more = {
                    "verdict": "crash",
                    "reason": "crash",
                    "detail": f"after it: {type(error).__name__}: {cells._line(error)}",
                }
            surgeon.remove(model)
            return more | {"restored": "yes" if cells._objects(model) == self.objects else "NO"}
        except surgeon.SurgeonError as error:
            surgeon.remove(model)
            return {
                "verdict": "refused",
                "reason": cells.REASONS.get(type(error), "refused"),
                "detail": cells._line(error),
            }
        except Exception as error:
            surgeon.remove(model)
            return {"verdict": "crash", "reason": "crash", "detail": f"{type(error).__name__}: {cells._line(error)}"}

    def _compared(self):
        """Bits at each size and in training, and which gates learn."""
        gates = surgeon.attention_modules(self.model)
        answers = {example: _attempt(lambda example=example: example.answer(self.model)) for example in self.before}
        failed = [answer for answer in answers.values() if isinstance(answer, Exception)]
        same = [not isinstance(a, Exception) and same_bits(self.before[e], a) for e, a in answers.items()]
        told = {"eval": f"{sum(same)}/{len(same)}" if len(failed) + sum(same) == len(same) else "DIFFERENT"}
        if failed:
            refusal = isinstance(failed[0], surgeon.SurgeonError)
            told |= {
                "verdict": "refused-size" if refusal else "crash",
                "reason": "size" if refusal else "crash",
                "detail": f"at another size: {type(failed[0]).__name__}: {cells._line(failed[0])}",
            }
        return told | self._learned(gates)

    def _learned(self, gates):
        """Training beside that before, and the gates that get a gradient there; in eval mode if it can't be trained so."""
        if self.training is None:
            moved = _moved(self.model, self.first, gates)
            return {"train": "", "gradients": ""} | _reached(gates, moved)
        outputs, gradients, repeats = self.training
        now, grads = self._trained()
        old = [grads.get(name) for name in gradients]
        told = {"train": cells._said(same_bits(outputs, now)), "gradients": _compared(list(gradients.values()), old)}
        if not repeats:
            told = {"train": "unrepeatable", "gradients": "unrepeatable"}
        moved = {
            path for path, gate in gates.items() if any(w.grad is not None and w.grad.any() for w in gate.parameters())
        }
        if len(moved) < len(gates):
            # Chance may have dropped just this branch.
            moved |= _moved(self.model, self.first, gates)
        return told | _reached(gates, moved)

    def _is_to_be_saved(self):
        """At each place; a large network at the first that it has alone, since saving builds it three times over."""
        first, self.saved = not self.saved, True
        return first or self.size <= SAVED_OFTEN

    def _saved(self):
        """`yes` if another process would get this very network from the file, else why not."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "network.safetensors"
            options = {"base": Base(CODE, "benchmarks.trials:made", {"network": self.network})}
            more = (
                {"example_inputs": self.first.given}
                if "example_inputs" in inspect.signature(surgeon.save).parameters
                else {}
            )
            try:
                surgeon.save(self.model, path, **options, **more)
                answer = self.first.answer(surgeon.load(path, allow_imports=True))
            except surgeon.SurgeonError as error:
                return {"saved": f"no: {cells._line(error)}"}
            except Exception as error:
                return {"saved": f"CRASH: {type(error).__name__}: {cells._line(error)}"}
        return {"saved": "yes" if same_bits(self.first.answer(self.model), answer) else "DIFFERENT"}


class _Called:
    """A network with its arguments, for what calls it on one image."""

    def __init__(self, model, example):
        self.model, self.example = model, example

    def __getattr__(self, name):
        return getattr(self.model, name)

    def __call__(self, _):
        args, kwargs = tree_map(lambda leaf: leaf.clone(), (self.example.args, self.example.kwargs))
        return self.model(*args, **kwargs)


def _attempt(call):
    """What `call` gives, or the exception that it ends with."""
    try:
        return call()
    except Exception as error:
        return error


def _moved(model, example, gates):
    """The gates that get a gradient in eval mode."""
    model.eval().zero_grad(set_to_none=True)
    try:
        outputs = cells._tensors(_Called(model, example)(None))
        sum(output.float().square().mean() for output in outputs if output.requires_grad).backward()
    except Exception:  # detectors' heads change their maps in place in eval mode
        return set()
    return {path for path, gate in gates.items() if any(w.grad is not None and w.grad.any() for w in gate.parameters())}


def _reached(gates, moved):
    told = {"reached": f"{len(moved & set(gates))}/{len(gates)}"}
    idle = [gate.site for path, gate in gates.items() if path not in moved]
    if idle:
        dead = [site for site in idle if site.read]
        told |= {
            "reason": "zero-gradient" if dead else "unread",
            "detail": f"no gradient but zero at {', '.join(map(str, dead or idle))}",
        }
    return told


def _row(network, count, place, expected, **more):
    start = {"network": network, "parameters": count, "place": place, "expected": expected}
    return dict.fromkeys(COLUMNS, "") | start | more
