"""Which library call gives exactly these tensors: the name a file needs to be built again.

Shapes are a fingerprint: a network is taken for `torchvision:resnet50` with ten classes only where
its keys and shapes are that network's, each one.
"""

from dataclasses import replace

from surgeon.attention import attention_modules
from surgeon.errors import BadFile, BadModel, BadOption
from surgeon.networks import catalogue, library
from surgeon.networks.settings import changed
from surgeon.networks.weights import shapes_of


def first_difference(expected, found):
    """The first thing in which two tables of key -> shape differ, in words; None where they are the same.

    >>> first_difference({"fc.weight": (10, 512)}, {"fc.weight": (7, 512)})
    "'fc.weight' should be 10 x 512 and is 7 x 512"
    """
    for key, shape in expected.items():
        if key not in found:
            return f"{key!r} is missing"
        if tuple(found[key]) != tuple(shape):
            return f"{key!r} should be {_text(shape)} and is {_text(found[key])}"
    extra = next((key for key in found if key not in expected), None)
    return None if extra is None else f"{extra!r} is not part of it"


def _text(shape):
    return " x ".join(map(str, shape)) or "a single number"


def fit(base, shapes):
    """`base`, its arguments chosen so that its network has exactly the tensors in `shapes` (key -> shape).

    Number of classes, auxiliary heads and frozen norms are read from the keys; nothing else is guessed.

    Raises:
        BadFile: no choice of these fits; names the first difference.
    """
    return _fitted(base, shapes)[0]


def _fitted(base, shapes):
    """(the Base of `fit`, its network with weights unfilled)."""
    missed = None
    for arguments in _variants(base, shapes):
        model = library.build(base, arguments=arguments, empty=True)
        own = shapes_of(model)
        classes = _classes(base, own, shapes)
        if classes is not None:
            arguments = arguments | {"num_classes": classes}
            model = library.build(base, arguments=arguments, empty=True)
            own = shapes_of(model)
        difference = first_difference(own, shapes)
        if difference is None:
            return replace(base, arguments=base.arguments | arguments), model
        missed = missed or (len(own), difference)
    raise BadFile(f"{base} has {missed[0]} tensors, these are {len(shapes)}: first difference: {missed[1]}.")


def _variants(base, shapes):
    """Arguments worth a try besides the library's defaults, judged by the keys that are there."""
    yield {}
    has = lambda word: any(word in key for key in shapes)
    if base.library == "torchvision":
        if has("aux_classifier."):
            yield {"aux_loss": True}
        if base.name.endswith(("googlenet", "inception_v3")) and not has("AuxLogits") and not has("aux1"):
            yield {"aux_logits": False}
        if not has("num_batches_tracked") and catalogue.is_detector(base):
            yield {library.FROZEN: 1e-5}
    if base.library == "timm":
        # As `reset_classifier(0)` leaves a network.
        yield {"num_classes": 0}


def _classes(base, own, shapes):
    """The number of classes that explains every shape which differs; None if none differs or none explains it.

    A detector's heads are multiples of it (boxes, anchors), so the ratio counts and not the size.
    """
    default = base.arguments.get("num_classes") or catalogue.classes_by_default(base)
    if default is None:
        return None
    differing = [(own[key][0], shapes[key][0]) for key in own if key in shapes and own[key] != tuple(shapes[key]) and own[key]]
    wanted = {new * default / old for old, new in differing}
    if len(wanted) != 1 or not (count := wanted.pop()).is_integer() or count < 1:
        return None
    return int(count)


def infer(model, base=None):
    """The Base of a network that somebody built: by its name, or what it remembers, what timm wrote on it, what its shapes say.

    Args:
        base: `torchvision:NAME`, `timm:NAME` or `package.module:function`; None where the network can be recognised.

    Raises:
        BadModel: no library network fits, or one that was changed in ways that a file can't hold. BadFile: it is not that of `base`.
    """
    shapes = stock_shapes(model)
    if base is not None:
        return _with_settings(*_fitted(library.parse(base), shapes), model)
    for guess in _guesses(model):
        try:
            found, stock = _fitted(guess, shapes)
        except (BadFile, BadOption):
            continue
        # Keys and shapes decide; what is then set otherwise is a change of this network, and no reason to look for another.
        return _with_settings(found, stock, model)
    raise BadModel(f"{type(model).__name__} with {len(shapes)} tensors is no network of torchvision's or timm's as they build it. "
                   "Name it: base='torchvision:NAME', 'timm:NAME', or what makes it: 'package.module:function'.")


def _guesses(model):
    known = library.remembered(model)
    if known is not None:
        # Its settings are read anew: they may have changed since.
        yield replace(known, settings={})
    written = catalogue.written_on(model)
    if written is not None:
        yield written
    yield from catalogue.same_class(model)


def _with_settings(base, stock, model):
    """`base` with what leaves no trace in the weights, read off `model` beside `stock`, its library's own."""
    return replace(base, settings=changed(model, stock))


def stock_shapes(model):
    """Key -> shape of all that `model` had before surgeon came: its state dict less the attention."""
    gates = tuple(f"{path}." for path in attention_modules(model))
    return {key: shape for key, shape in shapes_of(model).items() if not key.startswith(gates)}
