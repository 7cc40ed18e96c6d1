"""The words of rules: each is one small function, and the table at the end is the vocabulary.

A word is asked about one candidate, a value of the observed run, and answers yes or no. `explain`
prints the answers one by one, so each says a single thing.
"""

from dataclasses import dataclass, field

from surgeon.anatomy.residual import is_residual
from surgeon.anatomy.scene import class_names


@dataclass(frozen=True)
class Candidate:
    """A value that may be a site.

    value: the value itself. node: the step that makes it or takes it. graph: the forward that holds
    that step. names: what a rule called the parts of it (`branch`, `shortcut`).
    """

    value: object
    node: object
    graph: object
    names: dict = field(default_factory=dict, compare=False)


def op(candidate, name, scene):
    """The operator that makes the value. Every spelling of an operator counts: `+`, `+=`, `torch.add` are `add`."""
    return candidate.node.op == name


def rank(candidate, kind, scene):
    """`map`: the value is a feature map, in whatever layout (NCHW, NHWC, tokens, video)."""
    return scene.maps.grouped(candidate.value) is not None


def operands(candidate, wanted, scene):
    """The two values that the operator takes, told apart by what is learned on the way to each.

    Binds the names, so that `splice` can use them.
    """
    origins = {words.origin for words in wanted.values()}
    return is_residual(candidate.node, scene.maps, origins) and all(
        scene.maps.grouped(candidate.names[name]) is not None for name, words in wanted.items() if words.rank == "map"
    )


def into(candidate, kind, scene):
    """What the value goes into: `smaller`, a step that makes the map smaller; `pool`, the step that ends it."""
    return any(step.kind == kind and step.value is candidate.value for step in scene.steps)


def beyond(candidate, what, scene):
    """`stem`: neither the image, nor the first size if that is at least half the image's, nor a size of the stem's.

    The stem is the module that takes the image; a network whose first module holds it all (`features`)
    has its stem inside that. Where residual blocks run in it, it is more than a stem.
    """
    if candidate.value in scene.images:
        return False
    sizes = [scene.maps[step.value].size for step in scene.steps if step.value not in scene.images]
    here = scene.maps[candidate.value].size
    if here == sizes[0] and here[-1] * 3 > scene.maps.image.shape[-1]:
        return False
    return candidate.value not in scene.stem


def before(candidate, name, scene):
    """The full name of a class: a module of it takes the value."""
    return candidate.node.child is not None and name in class_names(candidate.node.child.module)


def value_is(candidate, what, scene):
    """`image`: what the network is given."""
    return candidate.value is scene.maps.image


WORDS = {"op": op, "rank": rank, "from": operands, "into": into, "beyond": beyond, "before": before, "is": value_is}
