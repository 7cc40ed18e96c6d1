"""Rule files: what they say, and one clear line for everything that is no rule."""

import os

import pytest

from surgeon.errors import BadRule, UnknownName
from surgeon.rulebook import book as rulebook
from surgeon.rulebook import grammar, words
from surgeon.rulebook.arguments import Operand

GOOD = """\
id: residual
about: The branch of a residual block.
find:
  op: add
  from:
    grown: {layers: most, rank: map}
    kept: {layers: fewest}
splice: after grown
expect:
  torchvision:resnet50: 16
  timm:convnext_tiny: [stages.0, stages.1]
"""


def refusal(text):
    with pytest.raises(BadRule) as caught:
        rulebook.understand(text, "f.yaml")
    return str(caught.value)


def known(level):
    return ", ".join(sorted(grammar.words(level)))


def changed(old, new):
    assert old in GOOD
    return GOOD.replace(old, new)


def test_a_rule_says_what_it_says():
    rule = rulebook.understand(GOOD, "f.yaml")
    assert (rule.id, rule.place, rule.classes, rule.splice, rule.file) == (
        "residual",
        "residual",
        (),
        "after grown",
        "f.yaml",
    )
    assert rule.find.words()["from"]["grown"].layers == "most" and rule.find.keep == "each"
    assert rule.expect == {"torchvision:resnet50": 16, "timm:convnext_tiny": ("stages.0", "stages.1")}


@pytest.mark.parametrize(
    "text, told",
    [
        (
            changed("op: add", "opp: add"),
            f"unknown word 'opp' in find (f.yaml, line 4). Did you mean 'op'? Known: {known(grammar.Find)}.",
        ),
        (
            changed("rank: map", "rnk: map"),
            f"unknown word 'rnk' in find.from.grown (f.yaml, line 6). Did you mean 'rank'? Known: {known(Operand)}.",
        ),
        (
            changed("find:", "fnd:"),
            f"unknown word 'fnd' (f.yaml, line 3). Did you mean 'find'? Known: {known(grammar.Rule)}.",
        ),
        (changed("about: The branch of a residual block.\n", ""), "missing word 'about' (f.yaml, line 1)."),
        (
            changed("most", "mots"),
            "'layers' in find.from.grown can't be 'mots' (f.yaml, line 6). Did you mean 'most'? Known: fewest, most.",
        ),
        (
            changed("fewest", "most"),
            "'from' needs two operands, one with layers: most and one with layers: fewest (f.yaml, line 5).",
        ),
        (changed("  op: add\n", "  into: pool\n"), "'from' needs the word op: operands of what? (f.yaml, line 5)."),
        (
            changed("after grown", "after branch"),
            "'splice' can't be 'after branch', only 'after value' or 'after grown' or 'after kept' (f.yaml, line 8).",
        ),
        (
            changed("16", "sixteen"),
            "'torchvision:resnet50' in expect can't be 'sixteen': give the number of sites, or a list of module paths (f.yaml, line 10).",
        ),
        (
            changed("torchvision:resnet50", "resnet50"),
            "'resnet50' in expect is not a network, such as torchvision:resnet50 (f.yaml, line 10).",
        ),
        (changed("id: residual", "id: 7"), "'id' can't be 7: it should be a valid string (f.yaml, line 1)."),
        (
            GOOD + "for: [ResNet]",
            "'ResNet' in for is not the full name of a class, such as torchvision.models.resnet.ResNet (f.yaml, line 12).",
        ),
        (GOOD + "id: twice\n", "'id' is said twice (f.yaml, line 12)."),
        (
            "id: a\nabout: b\nfind: {}\n",
            "'find' needs one of the words op, is, before, after, gate or into: what to look at (f.yaml, line 3).",
        ),
        ("id: a\nabout: b\nfind: {op: add, is: image}\n", "'is' and 'op' contradict each other (f.yaml, line 3)."),
        (
            "id: a\nabout: b\nfind: {op: add, keep: outermost}\n",
            "'keep: outermost' needs the word from: inside which branch? (f.yaml, line 3).",
        ),
        ("id: a\nabout: b\nfind:\n", "'find' may be empty only in a rule for classes (the word for) (f.yaml, line 3)."),
        ("", "empty: a rule is a mapping with the words id, about and find (f.yaml, line 1)."),
        ("- a\n", "a rule is a mapping with the words id, about and find (f.yaml, line 1)."),
        ("id: a\nabout: &x [b]\nfind: *x\n", "anchors and aliases (& and *) have no place in a rule (f.yaml, line 2)."),
        ("id: a\nfind: *x\n", "anchors and aliases (& and *) have no place in a rule (f.yaml, line 2)."),
        (
            "id: !!str a\n",
            "tags (tag:yaml.org,2002:str) have no place in a rule: it is data and constructs nothing (f.yaml, line 1).",
        ),
        ("id: a\n---\nid: b\n", "a second document: one file is one rule (f.yaml, line 2)."),
        ("id: [a\n", "not YAML: expected ',' or ']', but got '<stream end>' (f.yaml, line 2)."),
        ("id: a\x00\n", "not YAML: character 0x00 is not allowed (f.yaml, line 1)."),
        ("? [a]\n: b\n", "the left of a colon must be a word (f.yaml, line 1)."),
        ("[" * 40_000, "nested more than 8 levels deep (f.yaml, line 1)."),
    ],
)
def test_one_line_for_what_is_wrong(text, told):
    assert refusal(text) == told


def test_nothing_in_a_rule_file_is_executed(tmp_path):
    mark = tmp_path / "mark"
    refusal(f"id: !!python/object/apply:os.mkdir ['{mark}']\nabout: b\nfind: {{op: add}}\n")
    assert not mark.exists()


def test_a_file_that_can_not_be_read(tmp_path):
    with pytest.raises(BadRule, match="no such rule file"):
        rulebook.read(tmp_path / "none.yaml")
    with pytest.raises(BadRule, match="no such rule file"):
        rulebook.read(tmp_path)
    latin, long, pipe = tmp_path / "latin.yaml", tmp_path / "long.yaml", tmp_path / "pipe.yaml"
    latin.write_bytes("id: a\nabout: größer\n".encode("latin-1"))
    with pytest.raises(BadRule, match=r"^not UTF-8: byte 0xf6 \(.*latin.yaml, line 2\)\.$"):
        rulebook.read(latin)
    long.write_text("# \n" * 30_000)
    with pytest.raises(BadRule, match=r"^too long for a rule: more than 50,000 bytes \(.*long.yaml, line 16667\)\.$"):
        rulebook.read(long)
    os.mkfifo(pipe)
    with pytest.raises(BadRule, match="no such rule file"):
        rulebook.read(pipe)


def test_a_changed_file_is_read_again(tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text(GOOD)
    assert rulebook.read(file).about == "The branch of a residual block."
    file.write_text(changed("The branch", "The longer branch"))
    assert rulebook.read(file).about == "The longer branch of a residual block."


def test_own_rules_are_general_for_the_four_places():
    rules = rulebook.load()
    assert {"residual", "bottleneck", "final", "input"} <= set(rulebook.places(rules))
    assert all(rule.source and rule.expect for rule in rules)


def test_rules_come_from_folders_files_and_the_environment(tmp_path, monkeypatch):
    def rule(name):
        (tmp_path / name).mkdir()
        file = tmp_path / name / f"{name}.yaml"
        file.write_text(changed("id: residual", f"id: {name}"))
        return file

    ids = lambda *folders: {rule.id for rule in rulebook.load(folders)} - own
    own = {rule.id for rule in rulebook.load()}
    folder, file, environment = (rule(name) for name in ("folder", "file", "environment"))
    assert ids(folder.parent, file) == {"folder", "file"}
    assert ids(folder.parent, folder) == {"folder"}, "the same file twice is one rule"
    monkeypatch.setenv("SURGEON_RULES", f"{environment.parent}{os.pathsep}{folder.parent}")
    assert ids() == {"environment", "folder"}


def test_an_installed_package_ships_rules(tmp_path, monkeypatch):
    """A package as pip leaves it: its files, and a dist-info that names the entry point."""
    for part in ("surgeon_test_nets", "surgeon_test_nets/rules", "surgeon_test_nets-1.0.dist-info"):
        (tmp_path / part).mkdir()
    (tmp_path / "surgeon_test_nets" / "__init__.py").touch()
    (tmp_path / "surgeon_test_nets" / "rules" / "net.yaml").write_text(
        changed("id: residual", "id: shipped\nplace: shipped")
    )
    about = tmp_path / "surgeon_test_nets-1.0.dist-info"
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: surgeon-test-nets\nVersion: 1.0\n")
    points = about / "entry_points.txt"
    points.write_text("[surgeon.rules]\nnets = surgeon_test_nets.rules\n")
    monkeypatch.syspath_prepend(tmp_path)
    try:
        rulebook.packaged.cache_clear()
        assert "shipped" in rulebook.places(rulebook.load())
        rulebook.packaged.cache_clear()
        points.write_text("[surgeon.rules]\nnets = surgeon_test_nets.rule\n")
        with pytest.raises(
            BadRule, match="entry point nets = surgeon_test_nets.rule of surgeon.rules: no such package"
        ):
            rulebook.load()
    finally:
        rulebook.packaged.cache_clear()


@pytest.mark.parametrize("folder, told", [("none", "no such folder of rules"), (".", "no rule in this folder")])
def test_folders_without_rules(tmp_path, folder, told):
    with pytest.raises(BadRule, match=told):
        rulebook.load([tmp_path / folder])


def test_two_rules_for_one_place_and_class_are_named_both(tmp_path):
    for name in ("one", "two"):
        text = changed("id: residual", f"id: {name}\nplace: residual\nfor: [torchvision.models.resnet.ResNet]")
        (tmp_path / f"{name}.yaml").write_text(text)
    with pytest.raises(BadRule) as caught:
        rulebook.load([tmp_path])
    files = [f"{name} ({tmp_path / name}.yaml)" for name in ("one", "two")]
    assert (
        str(caught.value)
        == f"two rules claim 'residual' for torchvision.models.resnet.ResNet: {files[0]} and {files[1]}. Remove one."
    )


def test_two_rules_of_one_name_and_two_general_ones_are_refused(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(GOOD)
    with pytest.raises(BadRule, match=f"two rules are called 'residual': .*residual.yaml and {file}. Rename one."):
        rulebook.load([tmp_path])
    file.write_text(changed("id: residual", "id: mine\nplace: residual"))
    with pytest.raises(
        BadRule, match=r"two rules claim 'residual' for any network: residual .* and mine .*mine.yaml\). Remove one\."
    ):
        rulebook.load([tmp_path])


def test_an_unknown_place():
    with pytest.raises(UnknownName, match="unknown place 'residul'. Did you mean 'residual'?"):
        rulebook.for_place("residul", rulebook.load())


def test_the_vocabulary_and_the_grammar_are_one():
    about_the_set = {"inside", "keep"}
    assert set(words.WORDS) | about_the_set == set(grammar.words(grammar.Find))
    assert not about_the_set & set(words.WORDS)


def test_every_word_has_its_line_and_nothing_else_is_allowed_by_the_schema():
    schema = grammar.schema()
    for model, part in (
        (grammar.Rule, schema),
        (grammar.Find, schema["$defs"]["Find"]),
        (Operand, schema["$defs"]["Operand"]),
    ):
        assert set(part["properties"]) == set(grammar.words(model)) and part["additionalProperties"] is False
        assert all(grammar.words(model).values())
    assert schema["required"] == ["id", "about", "find"]
