"""A user's constraint from a module outside the repository: as good as one that ships, in every use."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from adhere.prompts.attach import Sampler
from adhere.prompts.config import ConstraintSamplerConfig, HoldOutConfig
from adhere.prompts.item import Message, PromptItem
from adhere.rewards.checklist import parse_checklist, score_checklist
from adhere.rewards.checklist.mapping import map_requirement
from adhere.rewards.components import Context
from adhere.rewards.config import ChecklistComponent
from adhere.rewards.constraints import (
    CONSTRAINTS,
    check,
    check_batch,
    collections,
    comply,
    conflicts,
    costly_call,
    describe,
    paraphrases,
    prepare,
    registry,
    sample,
    transform,
    transform_order,
    validate,
)
from adhere.rewards.constraints.core.document import reference
from adhere.rewards.engine import Engine
from adhere.rewards.errors import ConfigError, ConstraintError
from adhere.rewards.plugins import load_plugins, plugin_packages
from adhere.rewards.rollout import Rollout
from adhere.rewards.verdict import Status

SOURCE = r'''
from adhere.rewards.constraints import Constraint, Count, Needed, Step, decided, register


@register
class Echo(Constraint):
    """The word echo comes so many times or more."""

    id = "lab_%(name)s:number_words"
    collection = "lab %(name)s"
    step = Step.ADD
    params = (Count("num_echoes", "the least number of echoes", high=50),)
    ranges = {"echoes_%(name)s": (2, 3)}
    phrasings = (
        "Say echo {num_echoes} times or more.",
        "Let the word echo come at least {num_echoes} times.",
        "Write echo no less than {num_echoes} times.",
    )
    compat_rule = "the letters of echo, in any word"
    hardened_rule = "the word echo"

    def compat(self, text, kwargs):
        return decided(text.lower().count("echo") >= kwargs["num_echoes"], "echoes counted")

    def hardened(self, text, kwargs):
        words = [word.strip(".,\"") for word in text.lower().split()]
        return decided(words.count("echo") >= kwargs["num_echoes"], "echoes counted")

    def costly(self, kwargs, mode):
        return True

    def sample(self, source):
        return {"num_echoes": source.count("echoes_%(name)s")}

    def rewrite(self, text, kwargs):
        return "echo " * kwargs["num_echoes"] + text

    def needs(self, kwargs):
        return Needed("echo", exact=False)
'''
QUESTION = "How many are 3 and 4?"


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Write the module, load it as ``plugins:`` does, and forget its constraints afterwards."""
    name = f"p{tmp_path.stat().st_ino}"
    package = tmp_path / f"lab_{name}"
    package.mkdir()
    (package / "__init__.py").write_text("", encoding="utf-8")
    (package / "rules.py").write_text(SOURCE % {"name": name}, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    with forgotten():
        load_plugins([f"lab_{name}.rules"])
        yield f"lab_{name}"


class forgotten:
    """Take out of the registry, at the end, what was entered inside."""

    def __enter__(self) -> None:
        self.known = set(CONSTRAINTS)

    def __exit__(self, *given: object) -> None:
        for name in set(CONSTRAINTS) - self.known:
            del CONSTRAINTS._things[name], CONSTRAINTS._modules[name]


def test_it_is_used_like_one_that_ships(plugin: str) -> None:
    key = f"{plugin}:number_words"
    assert check(key, "echo Echo.", {"num_echoes": 2}).passed
    assert not check(key, "echoecho", {"num_echoes": 2}).passed
    assert check(key, "echoecho", {"num_echoes": 2.0}, "compat").passed
    assert check(key, "  ", {"num_echoes": 1}).detail == "the text is empty"
    with pytest.raises(ConstraintError, match=rf"row 3: {key}: unknown argument 'num_echos' \(did you mean 'num_ech"):
        validate(key, {"num_echos": 1}, "row 3")
    with pytest.raises(ConstraintError, match=rf"no constraint is called '{key}s' \(did you mean '{key}'"):
        validate(f"{key}s", {})
    drawn = sample(key, random.Random(1))
    assert drawn == sample(key, random.Random(1)) and drawn["num_echoes"] in (2, 3)
    own = {f"echoes_{plugin.removeprefix('lab_')}": (5, 5)}
    assert sample(key, random.Random(1), ranges=own) == {"num_echoes": 5}
    assert paraphrases(key) == 3 and describe(key, {"num_echoes": 4}, 1).startswith("Let the word echo come at least 4")
    assert transform(key, "It is 5.", {"num_echoes": 2}) == "echo echo It is 5."
    assert list(registry())[-1] == key and key in transform_order()
    assert plugin.replace("_", " ", 1) in collections()
    assert plugin_packages({"constraints": {"ids": [key]}}) == {plugin}


def test_it_conflicts_and_complies_beside_those_that_ship(plugin: str) -> None:
    echoes = (f"{plugin}:number_words", {"num_echoes": 2})
    forbidden = ("keywords:forbidden_words", {"forbidden_words": ["echo"]})
    assert conflicts(echoes, forbidden) and conflicts(forbidden, echoes)
    rng = random.Random(2)
    for key in registry():
        other = (key, sample(key, rng, question=QUESTION))
        assert conflicts(echoes, other) is conflicts(other, echoes)
    text = comply("The sum is \\boxed{7}.", [echoes, ("startend:quotation", None)])
    assert text is not None and text.startswith('"echo echo') and "\\boxed{7}" in text


def test_it_decides_a_checklist_and_is_recognised_in_one(plugin: str) -> None:
    rows = [
        {"id": "e", "text": "Echo.", "check": {"constraint": f"{plugin}:number_words", "kwargs": {"num_echoes": 1}}}
    ]
    assert score_checklist("An echo.", parse_checklist(rows, "row 1")).score == 1.0
    with pytest.raises(ConstraintError, match=r"row 1: checklist\[0\]\.check: .*num_echoes: 99 lies outside"):
        parse_checklist([{**rows[0], "check": {**rows[0]["check"], "kwargs": {"num_echoes": 99}}}], "row 1")  # type: ignore[dict-item]
    found = map_requirement("Say echo 3 times or more.")
    assert found is not None and (found.constraint, found.kwargs) == (f"{plugin}:number_words", {"num_echoes": 3})


def test_it_is_drawn_for_prompts_by_its_id_and_its_collection(plugin: str) -> None:
    item = PromptItem("gsm/1", (Message(role="user", content=QUESTION),), "7", question=QUESTION)
    for name in (f"{plugin}:number_words", plugin.replace("_", " ", 1)):
        built = Sampler(ConstraintSamplerConfig(ids=[name], count=[1])).attach(item)
        (requirement,) = built.checklist
        assert requirement.id == f"{plugin}:number_words"
        assert built.messages[-1]["content"].endswith(requirement.text)
    held = HoldOutConfig(ids=[plugin.replace("_", " ", 1)])
    assert Sampler(ConstraintSamplerConfig(hold_out=held), only_held_out=True).ids() == [f"{plugin}:number_words"]
    assert f"{plugin}:number_words" not in Sampler(ConstraintSamplerConfig()).ids()


def test_it_is_on_the_reference_page(plugin: str) -> None:
    page = reference()
    assert f"## `{plugin}:number_words`\n\nThe word echo comes so many times or more." in page
    assert f"| `echoes_{plugin.removeprefix('lab_')}` | 2 to 3 |" in page


def test_the_example_of_the_reference_page_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (example,) = [part for part in reference().split("```python\n") if "class NoSemicolon" in part]
    (tmp_path / "example_rules.py").write_text(example.partition("```")[0], encoding="utf-8")
    with forgotten():
        load_plugins(["example_rules"])
        assert check("my_lab:no_semicolon", "One. Two.").passed
        assert not check("my_lab:no_semicolon", "One; two.", mode="compat").passed
        assert transform("my_lab:no_semicolon", "One; two.") == "One. two."
        item = PromptItem("gsm/1", (Message(role="user", content=QUESTION),), "7", question=QUESTION)
        assert Sampler(ConstraintSamplerConfig(ids=["my_lab"], count=[1])).attach(item).checklist


def test_workers_know_it(plugin: str) -> None:
    checker = prepare(f"{plugin}:number_words", {"num_echoes": 1})
    calls = [costly_call(checker, text, "hardened") for text in ("an echo", "none")]
    shipped = costly_call(prepare("language:response_language", {"language": "de"}), "Das ist ein Satz.", "compat")
    with Engine(workers=1) as engine:
        found = check_batch([call for call in [*calls, shipped] if call is not None], engine)
        assert [found[call].score for call in calls if call is not None] == [1.0, 0.0]
        assert shipped is not None and found[shipped].status is Status.OK
        rows = [{"id": "e", "text": "Echo.", "check": {"constraint": checker.id, "kwargs": {"num_echoes": 1}}}]
        rollout = Rollout("Echo.", "an echo", None, checklist=parse_checklist(rows, "row 1"))
        assert ChecklistComponent().score([rollout], Context(engine))[0].score == 1.0


def broken(tmp_path: Path, old: str, new: str) -> str:
    """Write the module with one change, load it and return the message."""
    name = f"b{tmp_path.stat().st_ino}"
    source = SOURCE % {"name": name}
    assert old in source
    (tmp_path / f"broken_{name}.py").write_text(source.replace(old, new, 1), encoding="utf-8")
    with forgotten(), pytest.raises(ConfigError) as caught:
        load_plugins([f"broken_{name}"])
    sys.modules.pop(f"broken_{name}", None)
    assert str(caught.value).startswith(f"broken_{name}: the constraint '")
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (":number_words", "", "prefix:name"),
        ('    id = "', '    label = "', "'Echo' needs an id"),
        ("    collection = ", "    origin = ", "needs collection"),
        ('collection = "lab', 'collection = "lab:', "without a colon"),
        ("    step = Step.ADD\n", "", "needs a step, one of Step.ADD"),
        ("    step = Step.ADD\n", "    step = 'add'\n", "needs a step"),
        ("    step = Step.ADD\n", "    step = Step.ADD\n    scope = 'question'\n", "'answer' or 'reasoning'"),
        ('        "Write echo no less than {num_echoes} times.",\n', "", "three or more phrasings that all differ"),
        ("Write echo no less than {num_echoes} times.", "Say echo {num_echoes} times or more.", "that all differ"),
        ("Write echo no less than {num_echoes}", "Write echo no less than {number}", "phrasing 2 that its fields"),
        ("Write echo no less than {num_echoes}", "Write echo no less than {num_echoes", "phrasing 2 that its fields"),
        ('    hardened_rule = "the word echo"\n', "", "needs hardened_rule"),
        ('    compat_rule = "the letters of echo, in any word"\n', "    compat_rule = ' '\n", "needs compat_rule"),
        ("    def hardened(", "    def harden(", "does not define hardened"),
        ("    def sample(", "    def draw(", "draws arguments that it does not take (ConstraintError"),
        ("ranges = {", "ranges = (1, 2)  # {", "needs ranges as a mapping"),
        ('    """The word echo comes so many times or more."""\n', "", "has no docstring"),
        ('return {"num_echoes": source', 'return {"echoes": source', "draws arguments that it does not take"),
        ('source.count("echoes', 'source.count("echos', "draws arguments that it does not take (KeyError"),
        ("high=50", "high=1", "draws arguments that it does not take"),
        ("(2, 3)}", "(3, 2)}", "empty range"),
        ("(2, 3)}", "(2.5, 3)}", "two whole numbers"),
        ('ranges = {"echoes', 'ranges = {"num_words": (1, 2), "echoes', "ships with other bounds"),
        ("params = (Count(", "params = ('num_echoes', Count(", "needs params as a tuple of Param"),
        ("class Echo(Constraint):", "class Echo:", "not a subclass of Constraint"),
    ],
)
def test_what_a_class_lacks_is_said_when_it_registers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str, said: str
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    assert said in broken(tmp_path, old, new)


def test_an_id_that_ships_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    name = f"lab_b{tmp_path.stat().st_ino}:number_words"
    said = broken(tmp_path, name, "punctuation:no_comma")
    assert "exists already, in adhere.rewards.constraints.families.punctuation" in said
    assert type(registry()["punctuation:no_comma"]).__module__.endswith("families.punctuation")


def test_two_classes_of_a_module_with_one_id_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    again = '@register\nclass Echoes(Echo):\n    """Again."""\n'
    (tmp_path / "lab_twice.py").write_text((SOURCE % {"name": "twice"}) + again, encoding="utf-8")
    with (
        forgotten(),
        pytest.raises(ConfigError, match="'lab_twice:number_words' is registered twice, as Echo and Echoes"),
    ):
        load_plugins(["lab_twice"])


def test_a_checker_that_returns_no_verdict_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    source = (SOURCE % {"name": "bool"}).replace(
        'return decided(words.count("echo") >=', 'return (words.count("echo") >='
    )
    source = source.replace(
        'kwargs["num_echoes"], "echoes counted")\n\n    def costly', 'kwargs["num_echoes"])\n\n    def costly'
    )
    (tmp_path / "lab_bool.py").write_text(source, encoding="utf-8")
    with forgotten():
        load_plugins(["lab_bool"])
        with pytest.raises(
            ConfigError, match="lab_bool: hardened of the constraint 'lab_bool:number_words' returned bool"
        ):
            check("lab_bool:number_words", "echo", {"num_echoes": 1})
    sys.modules.pop("lab_bool")
