"""A thousand broken rule files: each is a rule or one clear BadRule, soon, and runs nothing."""

import re
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from surgeon.errors import BadRule
from surgeon.rulebook import book as rulebook
from surgeon.rulebook.arguments import Operand
from surgeon.rulebook.grammar import Find, Rule, words
from surgeon.rulebook.text import MOST_BYTES

pytestmark = pytest.mark.many

MARK = Path("/nonexistent-folder-of-surgeon-tests")
SEEDS = [file.read_bytes() for file in sorted(rulebook.folder().glob("*.yaml"))]
KNOWN = set(words(Rule)) | set(words(Find)) | set(words(Operand))
# What breaks or blows up readers of YAML; the rest is drawn at random.
HOSTILE = [
    b"&a ",
    b"*a",
    b"<<: *a",
    b"!!python/object/apply:os.system ['true']",
    b"!!python/name:os.abort ''",
    b"!foo ",
    b"? ",
    b"- ",
    b"[" * 3000,
    b"{" * 3000,
    b"\n" + b" " * 300 + b"a:",
    b": ",
    b"\t",
    b"\x00",
    b"\xff\xfe",
    b"\xed\xa0\x80",
    b"---\n",
    b"...\n",
    b"%YAML 9.9\n",
    b"#" * 9000,
    b'"',
    b"'",
    b"|\n",
    b">\n",
    b"9" * 5000,
    b".inf",
    b"0x1F",
    b"1e999",
    b"~",
    b"id: again\n",
    b"a" * 60_000,
    "\u2028".encode(),
    b"\r",
]
ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(sorted(KNOWN)) | st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=12,
)

thousand = settings(max_examples=350, suppress_health_check=list(HealthCheck), database=None)


def outcome(data, file):
    """The Rule or the BadRule that a file of these bytes is, after all that must hold for either."""
    file.write_bytes(data)
    began = time.process_time()
    try:
        found = rulebook.read(file)
    except BadRule as error:
        found = error
        told = re.search(rf"\({re.escape(str(file))}, line (\d+)\)", str(error))
        assert (
            told
            and 1 <= int(told[1]) <= len(data.splitlines()) + 1
            and "\n" not in str(error)
            and len(str(error)) < 700
        ), str(error)
    assert time.process_time() - began < 5
    return found


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return tmp_path_factory.mktemp("rules") / "mutant.yaml"


@thousand
@given(data=st.data())
def test_rules_with_bytes_put_in_taken_out_and_doubled(file, data):
    text = bytearray(data.draw(st.sampled_from(SEEDS)))
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(text)))
        end = min(len(text), start + data.draw(st.integers(0, 30)))
        text[start:end] = data.draw(
            st.sampled_from(HOSTILE) | st.binary(max_size=8) | st.just(bytes(text[start:end] * 3))
        )
    assert isinstance(outcome(bytes(text), file), (Rule, BadRule))


@thousand
@given(data=st.data())
def test_rules_with_an_unknown_word(file, data):
    lines = data.draw(st.sampled_from(SEEDS)).decode().splitlines()
    places = [i for i, line in enumerate(lines) if line.partition(":")[0].strip() in KNOWN]
    at = data.draw(st.sampled_from(places))
    word = lines[at].partition(":")[0].strip()
    wrong = data.draw(
        st.from_regex(r"[a-z]{1,12}", fullmatch=True).filter(lambda w: w not in KNOWN) | st.just(word + "s")
    )
    lines[at] = lines[at].replace(word, wrong, 1)
    error = outcome("\n".join(lines).encode(), file)
    assert isinstance(error, BadRule) and f"unknown word {wrong!r}" in str(error) and f"line {at + 1})" in str(error)


@thousand
@given(tree=ANY)
def test_trees_of_the_wrong_shape(file, tree):
    assert isinstance(
        outcome(_written({"id": "a", "about": "b", "find": tree}).encode("utf-8", "surrogatepass"), file),
        (Rule, BadRule),
    )


def _written(tree):
    """YAML in flow style; strings as they come, so that some of them are syntax."""
    if isinstance(tree, dict):
        return "{" + ", ".join(f"{key}: {_written(value)}" for key, value in tree.items()) + "}"
    return "[" + ", ".join(map(_written, tree)) + "]" if isinstance(tree, list) else str(tree)


@pytest.mark.parametrize(
    "data",
    [
        b"a: &a [x, x, x, x]\n"
        + b"".join(b"%c: &%c [*%c, *%c, *%c, *%c]\n" % (c, c, *[c - 1] * 4) for c in range(98, 123)),
        b"a: &a {b: *a}\n",
        b"[" * MOST_BYTES,
        b"{a: " * (MOST_BYTES // 4),
        b"- " * (MOST_BYTES // 2),
        b"? " * (MOST_BYTES // 2),
        b"\n".join(b" " * level + b"a:" for level in range(310)),
        b"".join(b"k%d: 1\n" % n for n in range(5000)),
        b"id: a\nabout: b\nfind: {op: add}\nexpect:\n" + b"".join(b"  timm:n%d: x\n" % n for n in range(3000)),
        b"x" * (MOST_BYTES + 1),
        b"a: [" + b"x, " * 16_000,
        b'"\\x41' * 10_000,
        b"a: >\n" + b" x\n" * 16_000,
        b"%A\n" * 16_000,
        "id: a\nabout: b\n".encode("utf-16"),
        bytes(range(256)),
    ],
    ids=range(16),
)
def test_bombs(file, data):
    assert isinstance(outcome(data, file), BadRule)
