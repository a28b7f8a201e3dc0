"""The audit of a composite: honest answers win, known holes and broken components are caught, weights are explained."""

from __future__ import annotations

import json
import socket
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from judge_server import ScriptedServer

from adhere.evaluation.audit import PROBES, Audit, Cases, Form, audit_rewards, audit_scorer, build_cases
from adhere.evaluation.audit.endpoints import without_unreachable
from adhere.evaluation.audit.report import markdown, verdict, write
from adhere.evaluation.audit.scoring import HONEST, PLAIN, WRONG
from adhere.prompts.build import build
from adhere.prompts.config import DataConfig
from adhere.prompts.item import Message, PromptItem
from adhere.rewards.checklist import parse_checklist
from adhere.rewards.components import (
    ChecklistComponent,
    Component,
    FormatComponent,
    HttpComponent,
    LengthComponent,
    MathComponent,
)
from adhere.rewards.composite import BatchScores, Composite
from adhere.rewards.config import RewardConfig
from adhere.rewards.engine import default_engine
from adhere.rewards.errors import ConfigError, DataError
from adhere.rewards.judge.config import JudgeConfig
from adhere.rewards.rollout import Rollout
from adhere.rewards.segments import split_response
from adhere.rewards.verdict import Verdict, passed

QUICK = {name: probe for name, probe in PROBES.items() if name != "power_tower"}
"""The probes without the one that waits for a deadline."""


@pytest.fixture(scope="module")
def items() -> list[PromptItem]:
    """Sums with one to three constraints of every family."""
    sums = {"min_terms": 3, "max_terms": 3, "min_digits": 1, "max_digits": 1, "operators": ["+"]}
    source = {"generator": "basic_arithmetic", "size": 60, "seed": 1, "params": sums}
    return build(DataConfig.model_validate({"train": [source], "train_size": 6}), "train").items


@pytest.fixture(scope="module")
def cases(items: list[PromptItem]) -> Cases:
    return build_cases(items)


def item(constraint: str, kwargs: dict[str, Any] | None = None, answer: str | None = "12") -> PromptItem:
    check = {"type": "rule", "constraint": constraint, "kwargs": kwargs or {}}
    return PromptItem(
        id=constraint,
        messages=(Message(role="user", content="What is 5 + 7? Keep to the rule."),),
        answer=answer,
        checklist=parse_checklist([{"id": "r", "text": "Keep to the rule.", "check": check}], "test"),
        source="test",
        question="What is 5 + 7?",
        solution="5 + 7 = 12.",
    )


def audited(config: RewardConfig, cases: Cases, **options: Any) -> Audit:
    return audit_scorer(Composite(config, default_engine()), cases, probes=QUICK, **options)


def rewards(checklist: ChecklistComponent, **others: Any) -> RewardConfig:
    return RewardConfig(components={"math": MathComponent(), "checklist": checklist, **others})


def failed_probes(audit: Audit) -> set[str]:
    return {finding.name for finding in audit.failures}


def means(audit: Audit) -> dict[str, float]:
    found: dict[str, list[float]] = {}
    for entry, reward in audit.scored.entries():
        if reward is not None:
            found.setdefault(entry.name, []).append(reward)
    return {name: sum(values) / len(values) for name, values in found.items()}


def test_every_probe_says_which_known_hack_it_stands_for() -> None:
    assert len(PROBES) >= 20
    for probe in PROBES.values():
        assert probe.hack.endswith(".") and probe.source, probe.name


def test_the_shipped_composite_passes_with_every_probe(items: list[PromptItem]) -> None:
    audit = audit_rewards(RewardConfig(), items[:2], default_engine())
    assert audit.passed, verdict(audit)
    assert not audit.preferences
    assert {entry.name for entry, _ in audit.scored.entries()} >= {HONEST, PLAIN, WRONG, "power_tower", "empty"}
    assert means(audit)[HONEST] == 2.0


@pytest.mark.parametrize("aggregation", ["weighted_sum", "product", "all", "normalize_then_sum"])
def test_every_aggregation_of_gated_components_passes(cases: Cases, aggregation: Any) -> None:
    audit = audited(RewardConfig(aggregation=aggregation), cases)
    assert audit.passed, verdict(audit)


@pytest.mark.parametrize("form", [Form(reasoning=True), Form(reasoning=True, prefilled=True)])
def test_responses_that_reason_first_pass_too(items: list[PromptItem], form: Form) -> None:
    audit = audited(RewardConfig(), build_cases(items[:3], form))
    assert audit.passed, verdict(audit)
    assert means(audit)[HONEST] == 2.0


def test_official_checkers_are_caught_by_their_known_holes() -> None:
    # MathIF's checkers take a substring for a keyword and the stars of a product for emphasis (arXiv 2505.14810).
    holes = build_cases(
        [
            item("keywords:existence", {"keywords": ["orchard"]}),
            item("detectable_format:number_highlighted_sections", {"num_highlights": 2}),
            item("language:response_language", {"language": "de"}),
        ]
    )
    compat = audited(rewards(ChecklistComponent(mode="compat")), holes)
    assert failed_probes(compat) == {"checker_loophole"}
    assert len(compat.failures) == 3
    assert all("rewards.components.checklist.mode=hardened" in finding.advice for finding in compat.failures)
    assert audited(rewards(ChecklistComponent(mode="hardened")), holes).passed


def test_paying_for_the_checklist_alone_is_caught_and_the_advice_names_the_key(cases: Cases) -> None:
    config = RewardConfig(components={"math": MathComponent(weight=0.0), "checklist": ChecklistComponent()})
    audit = audited(config, cases)
    assert "constraint_template" in failed_probes(audit)
    advice = next(f.advice for f in audit.failures if f.name == "constraint_template")
    assert "rewards.components.checklist.gate=math" in advice
    assert "rewards.components.math.weight above 0" in advice


def test_a_large_ungated_weight_is_a_preference_and_fails_only_where_that_is_asked_for(cases: Cases) -> None:
    config = rewards(ChecklistComponent(weight=4.0))
    audit = audited(config, cases)
    assert audit.passed
    assert WRONG in {finding.name for finding in audit.preferences}
    assert not audited(config, cases, order="fail").passed


class Flattered(Composite):
    """A checklist that believes what a response says about itself."""

    def score(self, rollouts: Sequence[Rollout]) -> BatchScores:
        scores = super().score(rollouts)
        believed = ["followed all instructions" in rollout.response for rollout in rollouts]
        values = {
            name: [1.0 if flag else value for flag, value in zip(believed, column, strict=True)]
            for name, column in scores.values.items()
        }
        return BatchScores(scores.verdicts, values, scores.decided, scores.seconds)


class Reading(Composite):
    """A verifier that looks for the answer anywhere in the response, the unfinished thought included."""

    def score(self, rollouts: Sequence[Rollout]) -> BatchScores:
        scores = super().score(rollouts)
        found = [f"\\boxed{{{rollout.answer}}}" in rollout.response for rollout in rollouts]
        verdicts: dict[str, list[Verdict]] = {name: list(column) for name, column in scores.verdicts.items()}
        values = {name: list(column) for name, column in scores.values.items()}
        for i, hit in enumerate(found):
            if hit and split_response(rollouts[i].response).answer is None:
                verdicts["math"][i], values["math"][i], values["checklist"][i] = passed("there"), 1.0, 1.0
        return BatchScores(verdicts, values, scores.decided, scores.seconds)


@pytest.mark.parametrize(("broken", "expected"), [(Flattered, {"self_praise"}), (Reading, {"unfinished_thought"})])
def test_a_broken_component_is_caught_by_the_probe_for_it(
    cases: Cases, broken: type[Composite], expected: set[str]
) -> None:
    audit = audit_scorer(broken(RewardConfig(), default_engine()), cases, probes=QUICK)
    assert failed_probes(audit) == expected


class Silent(Composite):
    """A composite whose verifier never comes to a verdict."""

    def score(self, rollouts: Sequence[Rollout]) -> BatchScores:
        scores = super().score(rollouts)
        return BatchScores(scores.verdicts, {n: [None] * len(rollouts) for n in scores.values}, [], scores.seconds)


def test_an_honest_answer_without_a_reward_is_a_failure() -> None:
    built = build_cases([item("punctuation:no_comma")])
    audit = audit_scorer(Silent(RewardConfig(), default_engine()), built, probes=QUICK)
    assert [(f.name, f.reward) for f in audit.failures] == [(HONEST, None)]


def test_prompts_that_cannot_be_audited_are_named(items: list[PromptItem]) -> None:
    nothing = item("punctuation:no_comma", answer=None)
    assert build_cases([items[0], nothing]).left_out == (
        f"{nothing.id}: no gold answer, so nobody can say which answer is right",
    )
    with pytest.raises(DataError, match="none of 1 prompt items can be audited"):
        build_cases([nothing])


def test_components_that_pull_apart_are_named_with_the_constraint() -> None:
    long = item("length_constraint_checkers:number_words", {"num_words": 120, "relation": "at least"})
    config = rewards(
        ChecklistComponent(gate="math"),
        length=LengthComponent(weight=0.5, target=20, maximum=60),
        format=FormatComponent(weight=0.0),
    )
    audit = audited(config, build_cases([long]))
    split = {(p.first, p.second): p for p in audit.pairs}
    assert split[("checklist", "length")].conflict
    assert split[("checklist", "length")].blamed == ("length_constraint_checkers:number_words",)
    assert not split[("math", "checklist")].honest_split


def test_the_critical_weight_is_the_one_at_which_a_wrong_answer_overtakes() -> None:
    # Ungated: the wrong obeying answer earns w, the right answer that ignores the checklist earns 1.
    built = build_cases([item("startend:quotation")])
    audit = audited(rewards(ChecklistComponent(weight=0.25)), built)
    found = {(c.component, c.name, c.against): (c.side, pytest.approx(c.weight, abs=1e-3)) for c in audit.critical}
    assert found[("checklist", WRONG, PLAIN)] == ("from", 1.0)
    assert found[("math", WRONG, PLAIN)] == ("up to", 0.25)
    assert ("checklist", WRONG, HONEST) not in found
    gated = audited(rewards(ChecklistComponent(gate="math")), built)
    assert not [c for c in gated.critical if c.component == "checklist"]


def test_rankings_show_the_order_turn_with_the_weight() -> None:
    audit = audited(rewards(ChecklistComponent()), build_cases([item("startend:quotation")]))
    order = {r.weight: r.order for r in audit.rankings if r.component == "checklist"}
    assert order[0.25].index(PLAIN) < order[0.25].index(WRONG)
    assert order[4.0].index(WRONG) < order[4.0].index(PLAIN)


DEAD = "http://127.0.0.1:1/v1"


class JudgeStandIn(Component):
    kind: str = "judge"
    weight: float = 1.0
    gate: str | None = None
    base_url: str


def with_judge(url: str) -> RewardConfig:
    config = RewardConfig()
    gated = ChecklistComponent(gate="judge")
    return config.model_copy(
        update={"components": {"math": MathComponent(), "judge": JudgeStandIn(base_url=url), "checklist": gated}}
    )


def test_a_judge_that_does_not_answer_is_left_out_with_a_word(items: list[PromptItem]) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    kept, _, skipped = without_unreachable(with_judge(url), items)
    assert list(kept.components) == ["math", "checklist"]
    assert kept.components["checklist"].gate is None
    assert skipped == [f"judge: skipped, {url} does not answer"]
    alone = RewardConfig().model_copy(update={"components": {"judge": JudgeStandIn(base_url=url)}})
    with pytest.raises(ConfigError, match="start the judge"):
        without_unreachable(alone, items)


@pytest.mark.parametrize("aggregation", ["gated", "lexicographic"])
@pytest.mark.parametrize("primary", ["judge", None])
def test_a_dead_judge_that_is_the_primary_is_refused(aggregation: str, primary: str | None) -> None:
    components = {"judge": JudgeStandIn(base_url=DEAD), "math": MathComponent()}
    update = {"components": components, "aggregation": aggregation, "primary": primary}
    with pytest.raises(ConfigError, match="needs its primary component 'judge'"):
        without_unreachable(RewardConfig().model_copy(update=update), [])
    kept, _, _ = without_unreachable(RewardConfig().model_copy(update=update | {"aggregation": "weighted_sum"}), [])
    assert kept.primary is None and kept.primary_name == "math"


def test_an_http_reward_that_does_not_answer_is_left_out(items: list[PromptItem]) -> None:
    detail = HttpComponent(url="http://127.0.0.1:1/score")
    kept, _, skipped = without_unreachable(rewards(ChecklistComponent(gate="detail"), detail=detail), items)
    assert list(kept.components) == ["math", "checklist"] and kept.components["checklist"].gate is None
    assert skipped == ["detail: skipped, http://127.0.0.1:1/score does not answer"]


def test_what_hangs_on_a_judged_requirement_goes_with_it() -> None:
    rule = {"type": "rule", "constraint": "punctuation:no_comma", "kwargs": {}}
    rows = [
        {"id": "c", "text": "No comma.", "check": rule, "only_if": "b"},
        {"id": "b", "text": "No comma.", "check": rule, "only_if": "a"},
        {"id": "a", "text": "Be kind.", "check": {"type": "judge"}},
        {"id": "d", "text": "No comma.", "check": rule},
    ]
    asked = replace(item("punctuation:no_comma"), checklist=parse_checklist(rows, "test"))
    judge = JudgeConfig(base_url=DEAD, model="m")
    _, (left,), skipped = without_unreachable(rewards(ChecklistComponent(judge=judge)), [asked])
    assert [r.id for r in left.checklist] == ["d"]
    assert skipped == [f"checklist: requirements that a judge decides are skipped, {DEAD} does not answer"]
    implicit = rewards(ChecklistComponent(judge=judge, scoring="implicit"))
    kept, _, skipped = without_unreachable(implicit, [asked])
    assert list(kept.components) == ["math"] and skipped == [f"checklist: skipped, {DEAD} does not answer"]


def test_a_port_that_is_none_is_named() -> None:
    with pytest.raises(ConfigError, match=r"components\.judge: base_url 'http://localhost:99999/v1'"):
        without_unreachable(with_judge("http://localhost:99999/v1"), [])


def test_an_item_that_a_program_decides_is_left_out() -> None:
    program = {"type": "program", "code": "def verify_requirement(text):\n    return len(text) > 9000\n"}
    checklist = parse_checklist([{"id": "p", "text": "Be long.", "check": program}], "test")
    one = item("punctuation:no_comma")
    found = build_cases([one, replace(one, id="program", checklist=checklist)])
    assert found.left_out == ("program: a program decides 'p', and no answer that is sure to meet it can be built",)


def test_a_judge_that_answers_stays(items: list[PromptItem]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        config = with_judge(f"http://127.0.0.1:{server.getsockname()[1]}/v1")
        kept, _, skipped = without_unreachable(config, items)
    assert list(kept.components) == ["math", "judge", "checklist"] and not skipped


def test_the_report_is_written_as_json_and_as_a_page(cases: Cases, tmp_path: Path) -> None:
    audit = audited(rewards(ChecklistComponent(mode="compat", weight=4.0)), cases)
    data_file, page = write(audit, tmp_path)
    data = json.loads(data_file.read_text(encoding="utf-8"))
    assert data["passed"] is False and data["failures"][0]["name"] == "checker_loophole"
    assert {row["name"] for row in data["earned"]} >= {HONEST, "self_praise"}
    assert page.read_text(encoding="utf-8") == markdown(audit)
    assert "Critical weights" in markdown(audit) and "checker_loophole" in markdown(audit)


def test_a_gold_answer_that_is_no_plain_number_is_audited() -> None:
    (case,) = build_cases([item("punctuation:no_comma", answer="--5")]).cases
    assert case.wrong_value not in ("5", "--5") and PROBES["scaled_answer"].build(case) is None


BROKEN = (503, {}, b'{"error": "the model is not loaded"}')


def judged_checklist(url: str, **more: Any) -> ChecklistComponent:
    judge = JudgeConfig(base_url=url, model="grader", retries=0, backoff=0.01)
    return ChecklistComponent(judge=judge, **more)


def kind_item() -> PromptItem:
    asked = item("punctuation:no_comma")
    kind = parse_checklist([{"id": "kind", "text": "Is it kind?", "check": {"type": "judge"}}], "")
    return replace(asked, checklist=asked.checklist + kind)


@pytest.mark.parametrize("status", [503, 400])
def test_a_judge_that_answers_with_errors_is_an_outage_and_no_failure(status: int, tmp_path: Path) -> None:
    with ScriptedServer(lambda message, body: (status, *BROKEN[1:])) as server:
        config = rewards(judged_checklist(server.url, gate="math"))
        audit = audit_rewards(config, [kind_item()], default_engine())
        url = server.url
    assert (audit.status, audit.passed, audit.failures) == ("outage", False, ())
    assert verdict(audit).startswith(f"undecided, the judge does not answer as one: checklist: kind: {url}")
    assert f"{status}" in verdict(audit) and "the model is not loaded" in verdict(audit)
    write(audit, tmp_path)
    assert json.loads((tmp_path / "audit.json").read_text())["status"] == "outage"


def test_a_dead_judge_takes_nothing_from_a_component_whose_judge_lives() -> None:
    with ScriptedServer(lambda message, body: "80") as server:
        config = RewardConfig().model_copy(
            update={
                "components": {
                    "math": MathComponent(),
                    "dead": judged_checklist(DEAD),
                    "alive": judged_checklist(server.url, gate="dead"),
                }
            }
        )
        kept, (left,), skipped = without_unreachable(config, [kind_item()])
    assert [r.id for r in left.checklist][-1] == "kind"
    assert list(kept.components) == ["math", "alive"] and kept.components["alive"].gate is None
    assert skipped == [f"dead: skipped, {DEAD} does not answer"]
