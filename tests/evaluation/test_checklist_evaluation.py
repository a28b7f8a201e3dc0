"""Items whose requirements take more than a rule: they are scored, grouped and written, and targets do not pretend."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

import pytest

from adhere.evaluation.floors import template_response
from adhere.evaluation.generation import Generation
from adhere.evaluation.metrics import measure
from adhere.evaluation.responses import to_record
from adhere.evaluation.scoring import ScoredRow, score_responses
from adhere.evaluation.statistics import Bootstrap
from adhere.prompts.config import SftTargetConfig
from adhere.prompts.item import Message, PromptItem, parse_item
from adhere.prompts.targets import TargetCounts, build_targets
from adhere.rewards.checklist import JudgeQuestion, OverallQuestion, parse_checklist
from adhere.rewards.errors import ConfigError
from adhere.rewards.verdict import Status, Verdict, failed, passed, unscored

COMMA = {"id": "comma", "text": "No commas.", "check": {"type": "rule", "constraint": "punctuation:no_comma"}}
SHORT = {
    "id": "short",
    "text": "Be short.",
    "check": {"type": "program", "code": "def verify_requirement(text):\n    return len(text) < 40"},
}
POLITE = {"id": "polite", "text": "Be polite.", "only_if": "short", "check": {"type": "judge"}}


class Politeness:
    """A judge that looks for one word; it is down for texts that say so."""

    def decide(self, questions: Sequence[JudgeQuestion]) -> list[Verdict]:
        assert all(question.prompt == "What is 2 + 2? Be nice." for question in questions)
        return [self._verdict(question.response) for question in questions]

    def decide_overall(self, questions: Sequence[OverallQuestion]) -> list[Verdict]:
        raise AssertionError("an evaluation asks one requirement at a time")

    @staticmethod
    def _verdict(response: str) -> Verdict:
        if "down" in response:
            return unscored(Status.ERROR, "no answer")
        return passed() if "please" in response else failed()


def item(*rows: dict[str, object]) -> PromptItem:
    messages = (Message(role="system", content="S"), Message(role="user", content="What is 2 + 2? Be nice."))
    checklist = parse_checklist(rows, "test")
    return PromptItem("i", messages, "4", checklist, question="What is 2 + 2?", solution="2 + 2 is 4.")


def rows(given: PromptItem, *texts: str) -> list[ScoredRow]:
    generations = [Generation(text, None, True) for text in texts]
    scores = score_responses([(given, generation) for generation in generations], judge=Politeness())
    return [ScoredRow(given, i, g, s) for i, (g, s) in enumerate(zip(generations, scores, strict=True))]


def test_rules_programs_and_a_judge_are_scored_together() -> None:
    texts = ["\\boxed{4} please", "\\boxed{4}", "\\boxed{4} " * 9, "\\boxed{4} down", "<think>"]
    found = rows(item(COMMA, SHORT, POLITE), *texts)
    assert [(row.score.hacc, row.score.sacc) for row in found] == [
        (1.0, 1.0),
        (0.0, pytest.approx(2 / 3)),
        (0.0, 0.5),
        (None, None),
        (0.0, 0.0),
    ]
    summary = measure(found, bootstrap=Bootstrap(resamples=10))
    assert sorted(summary["by_constraint"]) == ["judge", "program", "punctuation:no_comma"]
    assert summary["hacc"]["n"] == 4
    assert [verdict["id"] for verdict in found[0].score.to_dict(found[0].item.checklist)["verdicts"]] == [
        "punctuation:no_comma",
        "program",
        "judge",
    ]


def test_a_judge_that_is_not_there_is_named_before_anything_is_scored() -> None:
    with pytest.raises(ConfigError, match="requirement 'polite' is decided by a judge"):
        score_responses([(item(COMMA, SHORT, POLITE), Generation("\\boxed{4}", None, True))])


def test_the_written_row_says_how_each_was_decided() -> None:
    (row,) = rows(item(COMMA, SHORT), "\\boxed{4}")
    written = to_record(row)["constraints"]
    assert [entry["id"] for entry in written] == ["punctuation:no_comma", "program"]
    assert (written[0]["kwargs"], written[1]["check"]) == ({}, SHORT["check"])


def test_an_item_survives_its_file_form() -> None:
    given = item(COMMA, SHORT, POLITE)
    assert parse_item(json.loads(json.dumps(given.to_dict())), "again") == given


def test_the_floor_that_only_obeys_obeys_the_rules() -> None:
    assert "," not in template_response(item(COMMA, SHORT, POLITE))


def test_no_target_is_said_to_obey_what_no_rule_decides() -> None:
    counts = TargetCounts()
    config = SftTargetConfig(compliance=1.0)
    given = [replace(item(COMMA), id="a"), replace(item(COMMA, SHORT), id="b")]
    assert len(build_targets(given, config, counts)) == 2
    assert (counts.obeying, counts.not_obeyable, counts.comply_by_chance) == (1, 1, 0)
