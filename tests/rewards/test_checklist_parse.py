"""The JSON form of a checklist: what each kind of check looks like, and what is refused with which words."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from adhere.rewards.checklist import AndCheck, JudgeCheck, RuleCheck, SelectCheck, parse_checklist, score_checklist
from adhere.rewards.errors import AdhereError, ConstraintError, DataError

COMMA = {"type": "rule", "constraint": "punctuation:no_comma", "kwargs": {}}
LOWER = {"type": "rule", "constraint": "change_case:english_lowercase", "kwargs": {}}
CODE = "import re\n\ndef verify_requirement(text: str) -> bool:\n    return bool(re.search('x', text))\n"

CHECKS: dict[str, dict[str, Any]] = {
    "rule": COMMA,
    "rule with arguments": {"type": "rule", "constraint": "keywords:existence", "kwargs": {"keywords": ["a", "b"]}},
    "judge": {"type": "judge"},
    "judge with a question": {"type": "judge", "question": "Is it polite?"},
    "judge with a program": {"type": "judge", "program": CODE},
    "program": {"type": "program", "code": CODE},
    "program by assignment": {"type": "program", "code": "verify_requirement = lambda text: True"},
    "and": {"type": "and", "checks": [COMMA, {"type": "judge"}]},
    "chain": {"type": "chain", "checks": [LOWER, COMMA]},
    "select": {"type": "select", "if": LOWER, "then": COMMA, "else": {"type": "judge"}},
    "select without else": {"type": "select", "if": LOWER, "then": COMMA, "else": None},
    "nested": {
        "type": "select",
        "if": {"type": "and", "checks": [LOWER, {"type": "program", "code": CODE}]},
        "then": {"type": "chain", "checks": [COMMA, {"type": "select", "if": COMMA, "then": LOWER, "else": COMMA}]},
        "else": None,
    },
}


def row(check: Any = COMMA, **changes: Any) -> dict[str, Any]:
    return {"id": "r", "text": "Do it.", "weight": 100.0, "check": check} | changes


def refusal(*rows: Any) -> str:
    with pytest.raises(AdhereError) as caught:
        parse_checklist(rows, "data.jsonl:7")
    assert isinstance(caught.value, DataError | ConstraintError)
    return str(caught.value)


@pytest.mark.parametrize("name", CHECKS)
def test_a_requirement_survives_its_json_form(name: str) -> None:
    given = row(CHECKS[name])
    (requirement,) = parse_checklist([given], "data.jsonl:7")
    assert requirement.to_dict() == given
    assert parse_checklist(json.loads(json.dumps([requirement.to_dict()])), "again") == (requirement,)


def test_all_fields_survive() -> None:
    rows = [row(), row({"type": "judge"}, id="s", only_if="r", category="pitfall", weight=12.5)]
    checklist = parse_checklist(rows, "data.jsonl:7")
    assert [requirement.to_dict() for requirement in checklist] == rows
    assert parse_checklist([r.to_dict() for r in checklist], "again") == checklist


def test_a_rule_is_the_default_kind() -> None:
    (requirement,) = parse_checklist([{"id": "r", "text": "", "check": {"constraint": "punctuation:no_comma"}}], "x")
    assert (requirement.check, requirement.weight) == (RuleCheck("punctuation:no_comma"), 100.0)


def test_null_counts_as_absent_as_parquet_pads_rows() -> None:
    padded: Any = {"type": "and", "checks": [COMMA | {"code": None, "question": None}], "constraint": None, "if": None}
    (requirement,) = parse_checklist([row(padded, category=None, only_if=None, weight=None)], "x")
    assert requirement.check == AndCheck((RuleCheck("punctuation:no_comma"),))
    assert (requirement.weight, requirement.category, requirement.only_if) == (100.0, None, None)


@pytest.mark.parametrize(
    ("category", "weight"), [("essential", 100.0), ("important", 70.0), ("optional", 30.0), ("pitfall", 90.0)]
)
def test_a_category_gives_the_weight_where_there_is_none(category: str, weight: float) -> None:
    bare = {"id": "r", "text": "t", "category": category, "check": COMMA}
    assert parse_checklist([bare], "x")[0].weight == weight
    assert parse_checklist([bare | {"weight": 5}], "x")[0].weight == 5.0


def test_what_a_requirement_is_made_of() -> None:
    first, second, third = parse_checklist(
        [row(CHECKS["nested"]), row(COMMA, id="plain"), row(COMMA, id="conditional", only_if="plain")], "x"
    )
    assert [rule.constraint for rule in first.rules].count("punctuation:no_comma") == 3
    assert (first.rule, second.rule, third.rule) == (None, RuleCheck("punctuation:no_comma"), None)
    assert (first.label, second.label) == ("select", "punctuation:no_comma")
    assert [parse_checklist([row(CHECKS[n])], "x")[0].needs_judge for n in ("nested", "and", "select", "program")] == [
        False,
        True,
        True,
        False,
    ]
    assert isinstance(first.check, SelectCheck)
    assert JudgeCheck() == parse_checklist([row({"type": "judge"})], "x")[0].check


REFUSED: dict[str, tuple[dict[str, Any], str, str]] = {
    # what: (requirement, the place that the message opens with, words that it has)
    "unknown key": (row(wieght=3), ".wieght", "did you mean 'weight'?"),
    "lacks": ({"id": "r", "text": "t"}, "", "lacks check"),
    "weight": (row(weight=101), ".weight", "[0, 100]"),
    "weight as text": (row(weight="50"), ".weight", "[0, 100]"),
    "category": (row(category="esential"), ".category", "did you mean 'essential'?"),
    "no object": (row("punctuation:no_comma"), ".check", "an object"),
    "kind": (row({"type": "juge"}), ".check.type", "did you mean 'judge'?"),
    "kind of no text": (row({"type": ["judge"]}), ".check.type", "not a kind of check"),
    "rule without constraint": (row({"type": "rule"}), ".check", "names no constraint"),
    "unknown constraint": (row({"constraint": "punctuation:no_coma"}), ".check", "punctuation:no_comma"),
    "key of another kind": (row({"type": "judge", "code": CODE}), ".check.code", "takes question, program"),
    "misspelt key": (row(COMMA | {"kwarg": {}}), ".check.kwarg", "did you mean 'kwargs'?"),
    "blank question": (row({"type": "judge", "question": " "}), ".check.question", "leave it out"),
    "no code": (row({"type": "program"}), ".check", "has no code"),
    "blank code": (row({"type": "program", "code": ""}), ".check.code", "verify_requirement"),
    "no python": (row({"type": "program", "code": "def verify_requirement(:"}), ".check.code", "SyntaxError"),
    "null byte": (row({"type": "judge", "program": "x = 1\0"}), ".check.program", "is not Python"),
    "hostile nesting": (row({"type": "program", "code": "-" * 15_000 + "1"}), ".check.code", "is not Python"),
    "too long": (row({"type": "program", "code": "#" * 30_000}), ".check.code", "30000 characters"),
    "other function": (row({"type": "program", "code": "def check(text): pass"}), ".check.code", "does not define"),
    "no checks": (row({"type": "and"}), ".check.checks", "one or more"),
    "empty checks": (row({"type": "chain", "checks": []}), ".check.checks", "one or more"),
    "checks as text": (row({"type": "and", "checks": "rule"}), ".check.checks", "one or more"),
    "bad part": (row({"type": "and", "checks": [COMMA, {"type": "x"}]}), ".check.checks[1].type", "not a kind"),
    "select without then": (row({"type": "select", "if": COMMA}), ".check", "lacks then"),
    "bad branch": (
        row({"type": "select", "if": COMMA, "then": COMMA, "else": {"type": "and", "checks": [{"type": "rule"}]}}),
        ".check.else.checks[0]",
        "names no constraint",
    ),
    "dependency on itself": (row(only_if="r"), ".only_if", "circle (r -> r)"),
    "unknown dependency": (row(only_if="rr"), ".only_if", "did you mean 'r'?"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_used_is_refused_with_its_place(name: str) -> None:
    requirement, place, words = REFUSED[name]
    message = refusal(requirement)
    assert message.startswith(f"data.jsonl:7: checklist[0]{place}: ")
    assert words in message


def test_checks_nest_eight_deep_and_no_deeper() -> None:
    check: dict[str, Any] = COMMA
    for _ in range(7):
        check = {"type": "and", "checks": [check]}
    assert parse_checklist([row(check)], "x")[0].to_dict()["check"] == check
    assert "deeper than 8" in refusal(row({"type": "and", "checks": [check]}))
    for _ in range(100_000):
        check = {"type": "and", "checks": [check]}
    assert "deeper than 8" in refusal(row(check))


def test_dependencies_end_and_are_unambiguous() -> None:
    message = refusal(row(id="a", only_if="c"), row(id="b", only_if="a"), row(id="c", only_if="b"))
    assert "a -> c -> b -> a" in message
    assert "2 requirements have the id 'a'" in refusal(row(id="a"), row(id="a"), row(id="b", only_if="a"))
    assert len(parse_checklist([row(id="a"), row(id="a")], "x")) == 2
    line = [row(id="0"), *(row(id=str(i), only_if=str(i - 1)) for i in range(1, 33))]
    assert len(parse_checklist(line[:32], "x")) == 32
    assert "more than 31 others" in refusal(*line)
    assert "more than 31 others" in refusal(*reversed(line))


@pytest.mark.parametrize("rows", ["text", 3, [["id"]], [None]])
def test_a_checklist_is_a_list_of_objects(rows: Any) -> None:
    with pytest.raises(DataError, match="x: checklist"):
        parse_checklist(rows, "x")


def test_the_example_in_the_documentation_can_be_used() -> None:
    page = (Path(__file__).parents[2] / "docs" / "concepts.md").read_text(encoding="utf-8")
    section = page[page.index("## Checklists") : page.index("## Verdicts")]
    (example,) = re.findall(r"```json\n(.*?)```", section, re.DOTALL)
    checklist = parse_checklist(json.loads(example), "concepts.md")
    assert [(r.id, r.label, r.weight) for r in checklist] == [
        ("lower", "change_case:english_lowercase", 100.0),
        ("three", "program", 75.0),
        ("polite", "judge", 30.0),
        ("short_if_sure", "select", 50.0),
    ]
    text = "because:\n- it is so\n- it was so\n- it stays so"
    assert score_checklist(text, checklist[:2]).score == 1.0
    assert score_checklist("because:\n- it is so", checklist[:2]).score == pytest.approx(100 / 175)
