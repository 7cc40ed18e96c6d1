"""The comparison that many tests rest on says what differs, and where."""

from collections import OrderedDict

import pytest
import torch

from tests.shared.bits import assert_same_bits, same_bits

NAN, ONES = float("nan"), torch.ones(2, 3)
DIFFERENT = {
    "a number": (
        {"fc": ONES},
        {"fc": torch.tensor([[1.0, 1, 1], [1, 1.5, 1]])},
        "fc: 1 of 6 numbers differ, by up to 0.5",
    ),
    "a sign of zero": (torch.tensor([0.0]), torch.tensor([-0.0]), "tensor: 1 of 1 numbers differ, by up to 0"),
    "half precision": (
        torch.tensor(1, dtype=torch.bfloat16),
        torch.tensor(2, dtype=torch.bfloat16),
        "1 of 1 numbers differ, by up to 1",
    ),
    "a shape": ({"fc": ONES}, {"fc": ONES.T}, "fc: 2 x 3 of float32, not 3 x 2 of float32"),
    "a type": ([ONES], [ONES.double()], "0: 2 x 3 of float32, not 2 x 3 of float64"),
    "none at all": ({"grad": None}, {"grad": torch.tensor(1)}, "grad: None, not one number of int64"),
    "a key less": ({"a": {}}, {"a": {"b": ONES}}, "a: 'b' is missing"),
    "a key more": ({"a": 1, "b": 2}, {"a": 1}, "'b' is one too many"),
    "the order of keys": ({"a": 1, "b": 2}, {"b": 2, "a": 1}, "'a' stands where 'b' should"),
    "a length": ({"a": [1, 2]}, {"a": [1]}, "a: 2 values, not 1"),
    "a list": ([1], (1,), "value: [1], not (1,)"),
    "a value deep inside": ({"a": [{"b": (1, 2)}]}, {"a": [{"b": (1, 3)}]}, "a.0.b.1: 2, not 3"),
    "two of them": ({"a": 1, "b": 2}, {"a": 2, "b": 3}, "a: 1, not 2 (2 differences)"),
    "a network": (
        torch.nn.Linear(1, 1),
        torch.nn.Linear(1, 2),
        "weight: 1 x 1 of float32, not 2 x 1 of float32 (2 differences)",
    ),
}


@pytest.mark.parametrize("case", DIFFERENT)
def test_what_differs_is_named(case):
    one, other, told = DIFFERENT[case]
    assert not same_bits(one, other)
    with pytest.raises(AssertionError) as caught:
        assert_same_bits(one, other)
    assert str(caught.value).endswith(told)


@pytest.mark.parametrize(("one", "other"), [
    (torch.tensor([NAN, -0.0]), torch.tensor([NAN, -0.0])), (torch.zeros(0), torch.zeros(0)), (torch.tensor(True), torch.tensor(True)),
    (ONES.T, ONES.T.contiguous()), (torch.nn.Parameter(ONES), ONES.clone()), ({"a": 1}, OrderedDict(a=1)), ([], []), (None, None),
])  # fmt: skip
def test_what_is_the_same_passes(one, other):
    assert_same_bits(one, other)
