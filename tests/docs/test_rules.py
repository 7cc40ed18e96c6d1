"""docs/rules.md says what the code says, and what it shows is what happens."""

import re
import shlex
import sys
from pathlib import Path

import pytest

from docs.tools import rules as rulepage
from surgeon.cli import run
from surgeon.rulebook import book as rulebook
from surgeon.rulebook import grammar
from surgeon.rulebook.arguments import Operand

pytestmark = pytest.mark.network

PAGE = Path(__file__).parents[2] / "docs" / "rules.md"
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)


def test_the_page_is_current():
    assert PAGE.read_text() == rulepage.page(PAGE.read_text()), "run: python -m docs.tools.rules docs/rules.md"


def test_every_word_has_its_line():
    text = rulepage.words()
    for level in (grammar.Rule, grammar.Find, Operand):
        for word, told in grammar.words(level).items():
            assert f"| `{word}` |" in text and told in text


@pytest.fixture
def room(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    sys.modules.pop("my_networks", None)


def shown(command, room, capsys):
    """What a command prints, with paths as somebody in this folder would write them."""
    run(shlex.split(command)[1:])
    out, err = capsys.readouterr()
    rules = f"{rulebook.folder().parent}/"
    return [line.rstrip() for line in (out + err).replace(f"{room}/", "").replace(rules, "").splitlines()]


def matches(shown, lines):
    """True if `shown` is `lines`, where `...` stands for the rest of a line, or of all."""
    pattern = "\n".join(re.escape(line).replace(r"\.\.\.", ".*") for line in lines)
    return re.fullmatch(pattern, "\n".join(shown), re.DOTALL if lines[-1:] == ["..."] else 0) is not None


def test_the_worked_example_does_what_it_shows(room, capsys):
    ran = 0
    for language, text in BLOCKS:
        named = re.match(r"# (\S+\.(?:py|yaml))\n", text)
        if named:
            (room / named[1]).parent.mkdir(exist_ok=True)
            (room / named[1]).write_text(text)
        elif language == "console":
            for command in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
                line, *lines = command.rstrip().splitlines()
                told = shown(line, room, capsys)
                assert matches(told, lines), (line, told)
                ran += 1
        elif language == "python":
            sys.path.insert(0, str(room))
            try:
                exec(compile(text, "docs/rules.md", "exec"), {})
            finally:
                sys.path.remove(str(room))
            assert capsys.readouterr().out.split() == re.search(r"# (.*)", text)[1].split()
            ran += 1
    assert ran == 7


def test_what_is_shown_could_fail():
    assert matches(["a", "b c"], ["a", "b ..."]) and matches(["a", "b", "c"], ["a", "..."])
    assert (
        not matches(["a", "b"], ["a"])
        and not matches(["a", "b c"], ["a", "b d"])
        and not matches(["x", "b"], ["a", "..."])
    )


def test_the_first_rule_of_the_page_is_the_rule_for_residual_blocks():
    told = rulebook.understand(next(text for language, text in BLOCKS if language == "yaml"), "docs/rules.md")
    own = next(rule for rule in rulebook.load() if rule.id == "residual")
    assert (told.find, told.splice, told.about) == (own.find, own.splice, own.about)
