"""SFT targets end in the verified gold answer; the chosen share obeys."""

import random
import re
from typing import Any

import pytest

from adhere.prompts.attach import Sampler
from adhere.prompts.config import ConstraintSamplerConfig, SftTargetConfig, SourceConfig
from adhere.prompts.item import PromptItem
from adhere.prompts.sources import PromptStyle, load
from adhere.prompts.targets import CHECK, PREVIEW, TargetCounts, build_targets, unboxed
from adhere.rewards.checklist import Requirement
from adhere.rewards.checklist.requirement import RuleCheck
from adhere.rewards.constraints import check, check_scoped
from adhere.rewards.math import verify_answer
from adhere.rewards.segments import split_response


def sums(size: int, **sampler: Any) -> list[PromptItem]:
    config = SourceConfig(generator="chain_sum", size=size, params={"max_terms": 3, "max_digits": 2})
    draw = Sampler(ConstraintSamplerConfig(**sampler))
    return [draw.attach(item) for item in load(config, PromptStyle())]


def targets(items: list[PromptItem], **keys: Any) -> tuple[list[PromptItem], dict[str, Any]]:
    counts = TargetCounts()
    return build_targets(items, SftTargetConfig(**keys), counts), counts.to_dict()


def obeys(item: PromptItem, text: str) -> bool:
    return all(check(r.check.constraint, text, r.check.kwargs).passed for r in item.checklist)


def test_every_target_ends_in_the_verified_gold_answer_and_the_share_obeys() -> None:
    built, counts = targets(sums(100), compliance=0.5)
    assert len(built) == 100
    assert all(verify_answer(item.answer or "", item.target or "").passed for item in built)
    obeying = sum(obeys(item, item.target or "") for item in built)
    assert obeying == counts["obeying"] + counts["comply_by_chance"]
    assert 35 <= counts["obeying"] <= 65
    assert counts["obeying"] + counts["ignoring"] + counts["not_obeyable"] == 100


def test_compliance_one_obeys_everywhere_and_zero_is_natural_text() -> None:
    items = sums(60, share=0.9)
    _, counts = targets(items, compliance=1.0)
    assert counts["ignoring"] == 0 and counts["unconstrained"] > 0
    assert counts["not_obeyable"] <= 3
    natural, counts = targets(items, compliance=0.0)
    assert counts["obeying"] == 0
    for item in natural:
        assert item.target == f"{item.solution}\nTherefore, the final answer is \\boxed{{{item.answer}}}."
    assert counts["comply_by_chance"] < counts["ignoring"] / 2


def test_an_obeying_target_has_no_number_that_its_solution_does_not_have() -> None:
    starred = RuleCheck("detectable_format:number_highlighted_sections", {"num_highlights": 2})
    question, solution = "How many?", "He eats 3*70 = 210 eggs, with f(2,3) left."
    item = PromptItem(
        "stars",
        PromptStyle().messages(question),
        "210",
        (Requirement("h", "Highlight.", starred), Requirement("c", "…", RuleCheck("punctuation:no_comma"))),
        question=question,
        solution=solution,
    )
    (built,), _ = targets([item], compliance=1.0)
    assert "3×70 = 210" in (built.target or "")
    assert not {"370", "23"} & set(re.findall(r"\d+", built.target or ""))


def test_who_obeys_depends_on_seed_and_id_alone() -> None:
    items = sums(30)
    by_id = {item.id: item.target for item in targets(items)[0]}
    shuffled = random.Random(0).sample(items, 20)
    assert all(item.target == by_id[item.id] for item in targets(shuffled)[0])
    assert [item.target for item in targets(items, seed=1)[0]] != list(by_id.values())


def test_think_puts_the_solution_into_the_block_and_constrains_what_follows() -> None:
    built, _ = targets(sums(40), compliance=1.0, think=True)
    for item in built:
        segments = split_response(item.target or "")
        assert segments.reasoning == item.solution
        assert segments.answer is not None and "\\boxed" in segments.answer.lower()
    assert sum(obeys(item, split_response(item.target or "").answer or "") for item in built) >= 38


def test_a_preview_repeats_and_checks_the_requirements_in_reasoning_that_obeys() -> None:
    items = sums(40)
    plain, _ = targets(items, compliance=0.5, think=True)
    built, counts = targets(items, compliance=0.5, think=True, preview=True)
    assert counts["obeying"] > 5 and counts["ignoring"] > 5
    shown = 0
    for before, item in zip(plain, built, strict=True):
        asked = " ".join(requirement.text for requirement in item.checklist)
        reasoning = split_response(item.target or "").reasoning or ""
        if before.target == item.target:
            continue  # what does not obey promises nothing
        shown += 1
        assert reasoning == f"{PREVIEW} {asked}\n{item.solution}\n{CHECK} {asked}"
        assert split_response(before.target or "").answer == split_response(item.target or "").answer
    assert shown == counts["obeying"]
    with pytest.raises(ValueError, match="preview: stands in the reasoning"):
        targets(items, preview=True)


def test_items_without_solution_or_with_a_wrong_one_are_left_out_and_counted() -> None:
    def item(name: str, **keys: Any) -> PromptItem:
        return PromptItem(name, PromptStyle().messages("1 + 1?"), "2", question="1 + 1?", **keys)

    built, counts = targets(
        [item("no"), item("own", target="It is \\boxed{2}."), item("wrong", target="It is \\boxed{3}.")]
    )
    assert [i.id for i in built] == ["own"]
    assert (counts["without_solution"], counts["wrong_answer"], counts["given"]) == (1, 1, 1)
    assert counts["examples"] == ["no: without_solution", "wrong: wrong_answer"]


@pytest.mark.parametrize(
    ("solution", "plain"),
    [
        ("so $\\boxed{\\frac{1}{2}}$ it is", "so $\\frac{1}{2}$ it is"),
        ("\\boxed{1} then \\fbox{2}", "1 then 2"),
        ("\\boxed{\\boxed{3}}", "3"),
        ("a set \\boxed{\\{1, 2\\}}.", "a set \\{1, 2\\}."),
        ("open \\boxed{4", "open 4"),
        ("none", "none"),
    ],
)
def test_boxes_inside_a_solution_are_opened(solution: str, plain: str) -> None:
    assert unboxed(solution) == plain


def test_demands_on_the_reasoning_are_obeyed_inside_the_block_or_not_at_all() -> None:
    items = sums(40, ids=["reasoning:english_capital", "reasoning:no_comma", "punctuation:no_comma"], count=[0, 1])
    built, counts = targets(items, compliance=1.0, think=True)
    obeying = 0
    for item in built:
        parts = split_response(item.target or "")
        answer, reasoning = parts.answer or "", parts.reasoning
        obeying += all(check_scoped(r.check.constraint, answer, reasoning).passed for r in item.checklist)
    assert obeying == counts["obeying"] + counts["comply_by_chance"] >= 30
    demanding = [i for i in items if any(r.check.constraint.startswith("reasoning:") for r in i.checklist)]
    _, counts = targets(demanding, compliance=1.0, think=False)
    assert counts["not_obeyable"] == len(demanding) > 0
