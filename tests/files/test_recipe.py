"""Recipes: written, read, refused; and the files that carry them."""

import json

import pytest
import safetensors.torch
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import surgeon
from surgeon import attention
from surgeon.attention import naming
from surgeon.checkpoints import digest
from surgeon.errors import BadFile, BadModel
from surgeon.files import intake, recipe, store
from surgeon.files.derive import recipe_of
from surgeon.networks import library
from surgeon.networks.weights import load_weights
from surgeon.outside.timm import ARGUMENTS
from surgeon.sites import Plan, Site
from surgeon.surgery.operations import operations_of
from tests.shared.bits import assert_same_bits
from tests.shared.small import TINY, output, tiny

pytestmark = pytest.mark.network


class Halve(torch.nn.Module):
    """A user's own attention, at the top level of a module that can be imported."""

    def __init__(self, channels):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.full((channels, 1, 1), 0.5))

    def forward(self, x):
        return x * self.weight


@pytest.fixture(scope="module")
def model():
    return tiny()


@pytest.fixture(scope="module")
def file(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "tiny.safetensors"
    surgeon.save(model, path)
    return path


def test_what_is_saved_is_loaded_bit_for_bit(model, file):
    loaded = surgeon.load(file)
    assert_same_bits(model, loaded)
    assert torch.equal(output(model), output(loaded))
    assert [type(m).__name__ for m in model.modules()] == [type(m).__name__ for m in loaded.modules()]
    assert not any(m.training for m in loaded.modules())
    assert all(p.requires_grad for p in loaded.parameters())


@pytest.mark.parametrize(("name", "side"), [("test_vit", 96), ("test_vit", (64, 96)), ("test_resnet", (96, 40))])
def test_a_network_for_images_of_another_size_needs_no_example_to_be_built_again(name, side, tmp_path):
    options = {} if name == "test_resnet" else {"img_size": side}
    image = torch.randn(2, 3, *(side if isinstance(side, tuple) else (side, side)))
    model = timm.create_model(name, num_classes=3, **options).eval()
    if options and not hasattr(model, ARGUMENTS):
        pytest.skip("this timm notes no sizes on its networks: surgeon.save asks for base=")
    surgeon.inject(model, "cbam", where="residual", example_inputs=image)
    surgeon.save(model, tmp_path / "sized.safetensors")
    loaded = surgeon.load(tmp_path / "sized.safetensors")
    assert torch.equal(model(image), loaded(image))
    assert operations_of(loaded) == operations_of(model)


def test_two_operations_are_two_plans_and_come_back(tmp_path):
    model = tiny("cbam", "residual", reduction=8)
    surgeon.inject(model, "bam", where="bottleneck", reduction=4)
    made = recipe_of(model)
    assert [(plan.attention, plan.options) for plan in made.operations] == [
        ("cbam", {"reduction": 8}),
        ("bam", {"reduction": 4}),
    ]
    surgeon.save(model, tmp_path / "both.safetensors")
    loaded = surgeon.load(tmp_path / "both.safetensors")
    assert_same_bits(model, loaded)
    assert torch.equal(output(model), output(loaded))
    assert recipe_of(loaded) == made


def test_a_recipe_says_what_it_was_made_from(model):
    made = recipe_of(model)
    assert str(made.base) == TINY and made.base.arguments == {"num_classes": 4}
    assert set(made.versions) == {"surgeon", "torch", "torchvision", "timm"}
    assert list(made.tensors) == list(model.state_dict())
    plain = surgeon.remove(tiny())
    assert list(made.stock) == list(plain.state_dict())
    assert made.stock == digest.of_tensors(plain.state_dict())


names = st.text(min_size=1, max_size=8)
sites = st.builds(
    Site,
    module=names,
    after=names,
    place=names,
    channels=st.integers(1, 4096),
    size=st.tuples(st.integers(1, 999), st.integers(1, 999)),
)
plans = st.builds(
    Plan,
    attention=names,
    sites=st.lists(sites, max_size=3).map(tuple),
    options=st.dictionaries(names, st.integers() | st.booleans() | names),
)
recipes = st.builds(
    recipe.Recipe,
    base=st.builds(
        library.Base,
        library=names,
        name=names,
        arguments=st.dictionaries(names, st.integers() | names),
        settings=st.dictionaries(
            names, st.dictionaries(names, st.floats(allow_nan=False) | st.lists(st.integers()), max_size=2), max_size=2
        ),
    ),
    operations=st.lists(plans, max_size=2).map(tuple),
    tensors=st.dictionaries(names, names, max_size=4),
    attention=st.lists(names, max_size=2).map(tuple),
    prefix=names,
    versions=st.dictionaries(names, names, max_size=2),
)


@settings(max_examples=50)
@given(recipes)
def test_reading_a_recipe_undoes_writing_it(made):
    assert recipe.from_text(recipe.to_text(made), "a file") == made


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            lambda data: data.update(format=3),
            r"x.safetensors has recipe format 3; this surgeon \(0.1.0\) reads up to 2. Upgrade: pip install -U attention-surgeon",
        ),
        (lambda data: data.pop("base"), "x.safetensors holds no recipe that can be read: KeyError: 'base'"),
        (lambda data: data.update(tensors=["a"]), "x.safetensors holds no recipe that can be read"),
        (lambda data: data["operations"][0].pop("sites"), "not a plan"),
        (
            lambda data: data.update(order=["nobody"]),
            "x.safetensors holds no recipe that can be read: KeyError: 'nobody'",
        ),
    ],
)
def test_a_recipe_that_means_nothing_is_refused(model, change, told):
    data = json.loads(recipe.to_text(recipe_of(model)))
    change(data)
    with pytest.raises(surgeon.SurgeonError, match=told):
        recipe.from_text(json.dumps(data), "x.safetensors")


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", "[" * 100_000, '{"format": "x"}', "\ud800"])
def test_text_that_is_no_recipe_is_refused(text):
    with pytest.raises(BadFile, match="x holds no recipe that can be read"):
        recipe.from_text(text, "x")


def rewrite(file, target, change):
    """The file with its tensors and its recipe (as JSON) changed, and the recipe's own hash made to fit."""
    with safetensors.safe_open(file, framework="pt") as opened:
        tensors = {key: opened.get_tensor(key) for key in opened.keys()}
        data = json.loads(opened.metadata()["surgeon"])
    change(tensors, data)
    store.write_safetensors(tensors, json.dumps(data), target)
    return target


def drop(tensors, data):
    del tensors["layer1.0.conv1.weight"]


def add(tensors, data):
    tensors["stranger"] = torch.zeros(1)


def reshape(tensors, data):
    tensors["fc.bias"] = torch.zeros(5)
    data["tensors"]["fc.bias"] = digest.of_tensor(tensors["fc.bias"])


def change_bits(tensors, data):
    tensors["fc.bias"] = tensors["fc.bias"] + 1


def other_base(tensors, data):
    data["base"]["name"] = "resnet_of_tomorrow"


def other_library(tensors, data):
    data["base"]["library"] = "keras"


def foreign_code(tensors, data):
    data["operations"][0]["attention"] = "os:system"


def moved_site(tensors, data):
    data["operations"][0]["sites"][0]["module"] = "layer9.0"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (drop, "is not whole: 'layer1.0.conv1.weight' is missing"),
        (add, "is not whole: 'stranger' is not part of it"),
        (reshape, "does not fit timm:test_resnet: 'fc.bias' should be 4 and is 5"),
        (change_bits, "the weights of 'fc.bias' are not those that were saved"),
        (other_base, "timm:resnet_of_tomorrow can't be built again here"),
        (other_library, "keras:test_resnet can't be built again here"),
        (foreign_code, "the attention 'os:system' is somebody's own code, and loading would import it"),
        (moved_site, "this model has no module 'layer9.0'"),
    ],
)
def test_a_file_that_does_not_fit_is_refused_with_the_first_difference(file, tmp_path, change, told):
    with pytest.raises(BadFile, match=told) as caught:
        surgeon.load(rewrite(file, tmp_path / "changed.safetensors", change))
    assert "\n" not in str(caught.value)


def test_a_users_own_attention_is_imported_only_if_allowed(tmp_path):
    model = tiny(Halve, "final")
    surgeon.save(model, tmp_path / "own.safetensors")
    with pytest.raises(BadFile, match="'tests.files.test_recipe:Halve' is somebody's own code"):
        surgeon.load(tmp_path / "own.safetensors")
    assert_same_bits(model, surgeon.load(tmp_path / "own.safetensors", allow_imports=True))


def local(channels):
    """Stands for a function of the script that runs: `python script.py` imports it under no name."""
    return Halve(channels)


local.__module__ = "__main__"


def inner_class():
    class Local(Halve):
        pass

    return Local


@pytest.mark.parametrize(
    ("attention", "made"), [(lambda channels: Halve(channels), "Halve"), (inner_class(), "Local"), (local, "Halve")]
)
def test_attention_without_an_import_path_is_refused_with_what_to_type(attention, made, tmp_path):
    model = tiny(attention, "final")
    (path,) = surgeon.attention_modules(model)
    with pytest.raises(BadModel) as caught:
        surgeon.save(model, tmp_path / "own.safetensors")
    assert str(caught.value) == (
        f"{path} can't be named in a file: what made this {made} has no import path (a lambda, a local class, or one of the script that runs). "
        'Inject it under a name: surgeon.register("mine", factory) and then "mine", or a class at the top level of a module, "package.module:Class".'
    )
    assert not list(tmp_path.iterdir())


def test_what_the_refusal_says_works(tmp_path, monkeypatch):
    monkeypatch.setattr(naming, "_registered", {})
    surgeon.register("mine", lambda channels: Halve(channels))
    model = tiny("mine", "final")
    surgeon.save(model, tmp_path / "own.safetensors")
    assert_same_bits(model, surgeon.load(tmp_path / "own.safetensors"))
    monkeypatch.setattr(naming, "_registered", {})
    with pytest.raises(
        BadFile,
        match=r"unknown attention 'mine'\. .* Or package\.module:Class, or one made known by surgeon\.register\.",
    ):
        surgeon.load(tmp_path / "own.safetensors")
    named = tiny(f"{__name__}:Halve", "final")
    surgeon.save(named, tmp_path / "named.safetensors")
    assert_same_bits(named, surgeon.load(tmp_path / "named.safetensors", allow_imports=True))


def test_a_gate_that_surgeon_did_not_put_there_is_refused(tmp_path):
    model = tiny()
    model.fc.add_module("own", attention.build("se", 4))
    with pytest.raises(
        BadModel,
        match=r"^fc\.own can't be named in a file: this SE was not put there by surgeon\. Leave it out, and surgeon\.inject it\.$",
    ):
        surgeon.save(model, tmp_path / "own.safetensors", base=TINY)


def test_an_injected_file_fails_loudly_in_a_network_without_the_sites(file):
    plain = timm.create_model("test_resnet", num_classes=4)
    with pytest.raises(RuntimeError, match="Unexpected key"):
        plain.load_state_dict(safetensors.torch.load_file(file))
    with pytest.raises(surgeon.SurgeonError, match="its recipe says so"):
        intake.open_source("timm:resnet18", weights=file)


def test_half_precision_stays_half(tmp_path):
    model = tiny().half()
    surgeon.save(model, tmp_path / "half.safetensors")
    assert_same_bits(model, surgeon.load(tmp_path / "half.safetensors"))


def test_tied_weights_stay_tied():
    model = torch.nn.ModuleDict({"a": torch.nn.Linear(3, 3), "b": torch.nn.Linear(3, 3)})
    model.b.weight = model.a.weight
    load_weights(model, {key: torch.ones_like(value) for key, value in model.state_dict().items()})
    assert model.a.weight is model.b.weight and bool((model.a.weight == 1).all())


def test_tied_weights_are_written_each_under_its_name(tmp_path):
    weight = torch.randn(3, 3)
    store.write_safetensors({"a": weight, "b": weight, "c": weight.T}, None, tmp_path / "tied.safetensors")
    found = safetensors.torch.load_file(tmp_path / "tied.safetensors")
    assert torch.equal(found["a"], weight) and torch.equal(found["b"], weight) and torch.equal(found["c"], weight.T)


def test_a_network_with_another_thousand_keys_is_named_by_the_user(tmp_path):
    model = tiny()
    model.__dict__.pop("_built_from")
    model.pretrained_cfg = model.default_cfg = {}
    surgeon.save(model, tmp_path / "named.safetensors", base=TINY)
    assert_same_bits(model, surgeon.load(tmp_path / "named.safetensors"))
    with pytest.raises(BadFile, match="timm:resnet18 has 122 tensors"):
        surgeon.save(model, tmp_path / "wrong.safetensors", base="timm:resnet18")


def test_options_that_no_file_can_hold_are_refused_by_name(tmp_path):
    model = surgeon.inject(library.build("timm:test_resnet"), "timm:se", where="final", act_layer=torch.nn.GELU)
    with pytest.raises(BadModel) as refusal:
        surgeon.save(model, tmp_path / "a.safetensors")
    assert str(refusal.value).startswith(
        "layer4.se can't be saved: its option 'act_layer' is the class GELU, and a file holds numbers and texts only. "
    )
    assert not list(tmp_path.iterdir())
