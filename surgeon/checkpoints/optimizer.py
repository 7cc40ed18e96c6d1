"""Optimizer states name parameters by number: after an operation the numbers are others.

The numbers are those of a script that makes its optimizer again from `model.parameters()`, or from
groups with and without weight decay as timm and torchvision split them.
"""

from torch import Tensor, nn

from surgeon.errors import BadFile

NORMS = (nn.modules.batchnorm._BatchNorm, nn.LayerNorm, nn.GroupNorm, nn.modules.instancenorm._InstanceNorm)


def is_state(value):
    """Whether `value` is what an optimizer's `state_dict` returns."""
    return isinstance(value, dict) and isinstance(value.get("state"), dict) and isinstance(value.get("param_groups"), list)


def extend(state, model, new):
    """The optimizer's state for `model` with its new parameters: old momenta under new numbers, none for the new.

    Args:
        state: from `optimizer.state_dict()` for the parameters that are not new.
        new: names of the parameters that came with the attention.

    Raises:
        BadFile: the groups are split in a way that can't be told from the file.
    """
    return _renumber(state, model, lambda name: name not in new, lambda name: True)


def shrink(state, model, new):
    """The inverse of `extend`: the state as it was before the parameters named `new` came."""
    return _renumber(state, model, lambda name: True, lambda name: name not in new)


def _renumber(state, model, before, after):
    everything = dict(model.named_parameters())
    split = _split(state, model, [name for name in everything if before(name)], everything)
    counts = iter(range(len(everything)))
    groups, states, numbers = [], {}, _numbers(state, split)
    for group, belongs in zip(state["param_groups"], split):
        names = [name for name in everything if after(name) and belongs(name)]
        ids = [next(counts) for _ in names]
        states |= {number: state["state"][numbers[name]] for number, name in zip(ids, names) if numbers.get(name) in state["state"]}
        groups.append(dict(group) | {"params": ids} | ({"param_names": names} if "param_names" in group else {}))
    return dict(state) | {"state": states, "param_groups": groups}


def _numbers(state, split):
    return {name: number for group, belongs in zip(state["param_groups"], split) for name, number in zip(belongs.old, group["params"])}


class _Belongs:
    """One group of a split: its old names in order, and whether a name belongs to it."""

    def __init__(self, old, rule):
        self.old, self.rule = [name for name in old if rule(name)], rule

    def __call__(self, name):
        return self.rule(name)


def _split(state, model, old, parameters):
    groups = state["param_groups"]
    for rules in _rules(model, parameters, len(groups)):
        split = [_Belongs(old, rule) for rule in rules]
        if all(len(part.old) == len(group["params"]) for part, group in zip(split, groups)) and _shapes_fit(state, split, parameters):
            return split
    sizes = ", ".join(str(len(group["params"])) for group in groups)
    raise BadFile(f"the optimizer's {len(groups)} groups ({sizes} parameters) are no split of the network's {len(old)} that surgeon knows. "
                  "--drop-optimizer leaves its state out of the new file.")


def _rules(model, parameters, count):
    """Ways in which scripts split parameters into `count` groups."""
    if count == 1:
        yield [lambda name: True]
    if count == 2:
        norms = {f"{path}.{name}" for path, module in model.named_modules() if isinstance(module, NORMS) for name, _ in module.named_parameters(recurse=False)}
        for small in (lambda name: parameters[name].ndim <= 1 or name.endswith(".bias"), norms.__contains__, lambda name: name.endswith("bias")):
            large = lambda name, small=small: not small(name)
            yield [small, large]
            yield [large, small]


def _shapes_fit(state, split, parameters):
    """Whether each momentum has the shape of the parameter it would belong to."""
    for name, number in _numbers(state, split).items():
        for value in state["state"].get(number, {}).values():
            if isinstance(value, Tensor) and value.ndim == parameters[name].ndim > 0 and value.shape != parameters[name].shape:
                return False
    return True
