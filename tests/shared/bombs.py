"""Programs (.pt2) that run code in every way that torch.export.load and a look at the graph leave open."""

import io
import json
import pickle
import zipfile

import torch

from tests.shared.small import tiny

MODEL = "models/model.json"
SAMPLES = "data/sample_inputs/model.pt"
WEIGHTS = "data/weights/model_weights_config.json"
CONSTANTS = "data/constants/model_constants_config.json"


class Bomb:
    """Makes a folder when it is unpickled: the trace that code was run."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return __import__("os").mkdir, (str(self.trace),)


def program(path):
    """An ordinary program, as anybody exports one."""
    image = torch.randn(2, 3, 64, 64)
    torch.export.save(
        torch.export.export(tiny(None), (image,), dynamic_shapes=({0: torch.export.Dim("batch", min=1)},)), path
    )


def pickled(trace):
    buffer = io.BytesIO()
    torch.save(((Bomb(trace),), {}), buffer)
    return buffer.getvalue()


def changed(source, target, changes, more=()):
    """The archive `source` with records changed (name -> function of bytes) and others added (name -> bytes)."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        root = old.namelist()[0].partition("/")[0]
        for name in old.namelist():
            change = changes.get(name.removeprefix(f"{root}/"), lambda content: content)
            new.writestr(name, change(old.read(name)))
        for name, content in dict(more).items():
            new.writestr(name.removeprefix("/") if name.startswith("/") else f"{root}/{name}", content)


def _json(change):
    def changed(content):
        data = json.loads(content)
        change(data)
        return json.dumps(data).encode()

    return changed


def _text(old, new):
    return lambda content: content.decode().replace(old, json.dumps(new)[1:-1]).encode()


def samples(source, target, trace):
    changed(source, target, {SAMPLES: lambda content: pickled(trace)})


def weight(source, target, trace):
    changed(
        source,
        target,
        {WEIGHTS: _json(lambda data: data["config"]["fc.bias"].update(use_pickle=True, path_name="weight_bomb"))},
        {"data/weights/weight_bomb": pickled(trace)},
    )


def constant(source, target, trace):
    entry = {"path_name": "opaque_obj_0", "is_param": False, "use_pickle": True, "tensor_meta": None}
    changed(
        source,
        target,
        {CONSTANTS: _json(lambda data: data["config"].update(bomb=entry))},
        {"data/constants/opaque_obj_0": pickle.dumps(Bomb(trace))},
    )


def size(source, target, trace):
    changed(
        source,
        target,
        {MODEL: _text("Symbol('s77', positive=True, integer=True)", f"__import__('os').mkdir('{trace}')")},
    )


def name(source, target, trace):
    told = json.dumps(f"x=__import__('os').mkdir('{trace}')")
    changed(
        source,
        target,
        {
            MODEL: lambda content: (
                content.decode().replace('"name": "x"', f'"name": {told}').replace('"x": {', told + ": {").encode()
            )
        },
    )


def operator(source, target, trace):
    def change(data):
        node = {
            "target": "torch.os.mkdir",
            "inputs": [{"name": "", "arg": {"as_string": str(trace)}, "kind": 1}],
            "outputs": [{"as_none": True}],
            "metadata": {},
            "is_hop_single_tensor_return": None,
            "name": "bomb",
        }
        data["graph_module"]["graph"]["nodes"].insert(0, node)

    changed(source, target, {MODEL: _json(change)})


def structure(source, target, trace):
    def change(data):
        data["graph_module"]["module_call_graph"][0]["signature"]["out_spec"] = json.dumps(
            [
                1,
                {
                    "type": "collections.defaultdict",
                    "context": json.dumps(
                        {"default_factory_module": "bomb_of_the_tests", "default_factory_name": "x", "dict_context": []}
                    ),
                    "children_spec": [],
                },
            ]
        )

    changed(source, target, {MODEL: _json(change)})


def guard(source, target, trace):
    changed(
        source, target, {MODEL: _json(lambda data: data["guards_code"].append(f"__import__('os').mkdir('{trace}')"))}
    )


def path(source, target, trace):
    changed(
        source,
        target,
        {MODEL: _text(",layer1,", f""",lay"), __import__('os').mkdir('{trace}'), getattr(self, "er1,""")},
    )


def library(source, target, trace):
    changed(source, target, {}, {"data/aotinductor/model/run.so": b"\x7fELF"})


def old(source, target, trace):
    changed(source, target, {}, {"/version": b"8.20", "/serialized_example_inputs.pt": pickled(trace)})
