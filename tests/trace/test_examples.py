"""Examples in words: read, told again, kept as JSON, and made into tensors."""

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import surgeon
from surgeon.errors import BadInput, BadOption
from surgeon.trace.examples import DTYPES, Form, Spec, from_json, parse, to_json
from surgeon.trace.inputs import Arguments
from surgeon.trace.noise import drawn, form_of, note, noted, resolved

HOW = (
    "Write a tensor as 1x3x64x64, a keyword as name=2x7, a type as 2x7:int64, several with blanks between them: "
    "'pixel_values=2x3x224x224 input_ids=2x7:int64'."
)


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("1x3x64x64", Form((Spec((1, 3, 64, 64)),))),
        ("2x3x8x8 2x3x8x8", Form((Spec((2, 3, 8, 8)), Spec((2, 3, 8, 8))))),
        ("x=2x3 ids=2x7:int64", Form((), {"x": Spec((2, 3)), "ids": Spec((2, 7), "int64")})),
        ("4 scale=number:float64", Form((Spec((4,)),), {"scale": Spec((), "float64")})),
    ],
)
def test_a_text_and_its_form(text, form):
    assert parse(text) == form and str(form) == text


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("1x3x64xx64", f"the example '1x3x64xx64': '1x3x64xx64' is no tensor. {HOW}"),
        ("1x3, 2x7", f"the example '1x3, 2x7': '1x3,' is no tensor. {HOW}"),
        ("224", None),
        ("ids=", f"the example 'ids=': 'ids=' is no tensor. {HOW}"),
        ("1x3:", f"the example '1x3:': '1x3:' is no tensor. {HOW}"),
        ("", f"the example is empty. {HOW}"),
        ("x=1 x=2", "the example 'x=1 x=2' has 'x' twice."),
        ("1x3:flota16", f"the example: '1x3:flota16' has a type that there is not. Did you mean 'float16'? Known: "
         f"{', '.join(sorted(DTYPES))}."),
    ],
)  # fmt: skip
def test_a_wrong_text_is_told_in_one_line(text, told):
    if told is None:
        assert parse(text) == Form((Spec((224,)),))
        return
    with pytest.raises(BadOption) as error:
        parse(text)
    assert str(error.value) == told and "\n" not in told


def test_every_type_is_one_of_torchs():
    assert all(isinstance(getattr(torch, name), torch.dtype) for name in DTYPES)


PLAIN = st.none() | st.booleans() | st.integers() | st.text(max_size=5)
SPECS = st.builds(
    Spec, st.lists(st.integers(0, 99), max_size=4).map(tuple), st.none() | st.sampled_from(DTYPES)
) | st.lists(st.integers(0, 9), max_size=3).map(lambda values: Spec((len(values),), "int64", tuple(values)))
TREES = st.recursive(
    SPECS | PLAIN,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.sampled_from(["tensor", "tuple", "dict", "x"]), inner, max_size=3)
    ),
    max_leaves=6,
)
FORMS = st.builds(Form, st.lists(TREES, max_size=3).map(tuple), st.dictionaries(st.text(max_size=3), TREES, max_size=3))


@pytest.mark.many
@given(FORMS)
def test_json_gives_every_form_back(form):
    assert from_json(json.loads(json.dumps(to_json(form)))) == form


@pytest.mark.many
@given(st.lists(SPECS.filter(lambda spec: spec.values is None), min_size=1, max_size=3))
def test_the_text_of_tensors_alone_is_read_again(specs):
    form = Form(tuple(specs))
    assert parse(str(form)) == form


def test_numbers_are_the_same_each_time_and_fit_any_table():
    form = parse("2x3 ids=2x9:int64 mask=2x9:bool half=4:float16 own=number")
    (image,), named = drawn(form, torch.bfloat16)
    again = drawn(form, torch.bfloat16)
    assert torch.equal(image, again.args[0]) and all(torch.equal(named[key], again.kwargs[key]) for key in named)
    assert {key: value.dtype for key, value in named.items()} == {
        "ids": torch.int64, "mask": torch.bool, "half": torch.float16, "own": torch.bfloat16,
    }  # fmt: skip
    assert image.dtype == torch.bfloat16 and image.std() > 0
    assert set(named["ids"].flatten().tolist()) == {0, 1} and named["mask"].all() and named["own"].shape == ()


def test_the_form_of_what_somebody_gave():
    image, few, many = torch.zeros(2, 3), torch.tensor([3, 4]), torch.zeros(9, 9, dtype=torch.int64)
    example = Arguments(({"images": [image, image.double()], "flag": True},), {"few": few, "many": many})
    form = form_of(example, torch.float32)
    assert form == Form(
        ({"images": [Spec((2, 3)), Spec((2, 3), "float64")], "flag": True},),
        {"few": Spec((2,), "int64", (3, 4)), "many": Spec((9, 9), "int64")},
    )
    again = drawn(form)
    assert torch.equal(again.kwargs["few"], few) and again.args[0]["images"][1].dtype == torch.float64
    assert form_of(Arguments((object(),), {}), torch.float32) is None
    assert form_of(Arguments((torch.zeros(1, dtype=torch.float8_e5m2),), {}), torch.float32) is None


def test_what_is_resolved():
    half = nn.Linear(2, 2).half()
    assert resolved(None, half) is None
    assert resolved("4x2", half).args[0].dtype == torch.float16
    own = Arguments((torch.zeros(1),), {})
    assert resolved(own, half) is own
    with pytest.raises(BadInput, match="or a text such as '1x3x64x64', not int"):
        resolved(3, half)


def test_a_note_goes_with_copies():
    import copy
    import pickle

    model = nn.Linear(2, 2)
    note(model, Arguments((torch.zeros(4, 2),), {}))
    assert noted(copy.deepcopy(model)) == noted(pickle.loads(pickle.dumps(model))) == Form((Spec((4, 2)),))
    note(model, None)
    assert noted(model) is None


class Pair(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, left, *, right):
        x = self.one(left + right)
        return x + self.two(x)


def test_a_second_operation_needs_no_second_example():
    model = surgeon.inject(Pair(), "eca", where="one*", example_inputs="2x3x8x8 right=2x3x8x8")
    surgeon.inject(model, "eca", where="residual")
    assert surgeon.places(model)["residual"] == 1 and len(surgeon.attention_modules(model)) == 2
    surgeon.remove(model)
    with pytest.raises(BadInput):
        surgeon.places(model)


RULE = """
id: pair_final
place: final
about: What the second convolution takes.
for: [tests.trace.test_examples.Pair]
find: {before: torch.nn.modules.conv.Conv2d, rank: map, keep: last}
example: 2x3x8x8 right=2x3x8x8
expect:
  tests.trace.test_examples:Pair: [one]
"""


def test_a_rule_says_what_its_networks_are_called_with(tmp_path):
    file = tmp_path / "pair.yaml"
    file.write_text(RULE)
    model = surgeon.inject(Pair(), "eca", where="final", rules=file)
    assert [gate.site.module for gate in surgeon.attention_modules(model).values()] == ["one"]
    assert noted(model) == parse("2x3x8x8 right=2x3x8x8")


def test_what_rules_expect_is_checked_on_their_example(tmp_path):
    (tmp_path / "pair.yaml").write_text(RULE)
    rule = surgeon.rulebook.read(tmp_path / "pair.yaml")
    book = surgeon.rulebook.load()
    verdicts = list(surgeon.rulebook.verdict.check([rule], book, allow_imports=True))
    assert [verdict.kind for verdict in verdicts] == ["found"], verdicts


def test_a_draft_keeps_the_example():
    text = surgeon.rulebook.draft.draft(Pair(), "residual", example_inputs="2x3x8x8 right=2x3x8x8")
    assert "\nexample: 2x3x8x8 right=2x3x8x8\n" in text
