"""Evaluation questions stay out of training."""

import json
from pathlib import Path
from typing import Any

import pytest

from adhere.prompts.decontaminate import (
    IFEVAL_FILE,
    MATHIF_FILE,
    check_keywords,
    read_questions,
    remove_known,
    remove_overlap,
)
from adhere.prompts.item import Message, PromptItem
from adhere.rewards.checklist import Requirement
from adhere.rewards.checklist.requirement import RuleCheck
from adhere.rewards.errors import DataError

LONG = "Natalia sold clips to forty eight of her friends in April and then half as many in May."


def item(question: str, source: str = "s", **keys: Any) -> PromptItem:
    return PromptItem(
        question, (Message(role="user", content=question),), "1", source=source, question=question, **keys
    )


def kept(items: list[PromptItem], *args: Any, **keys: Any) -> list[str]:
    return [i.question for i in remove_overlap(items, *args, **keys).kept]


def test_eight_shared_words_are_an_overlap_and_seven_are_not() -> None:
    eight = "TODAY: natalia SOLD clips, to forty-eight of her -- enemies"
    seven = "natalia sold clips to forty eight of his friends"
    assert kept([item(eight), item(seven)], [LONG]) == [seven]
    assert kept([item(eight)], [LONG], n=9) == [eight]


def test_short_questions_are_compared_whole() -> None:
    items = [item("what is  3+4 ?"), item("What is 3 - 4?"), item("What is 3 + 4 + 5?")]
    assert kept(items, ["What is 3 + 4?"]) == ["What is 3 - 4?", "What is 3 + 4 + 5?"]


def test_the_report_counts_and_shows_what_was_shared() -> None:
    report = remove_overlap([item(LONG), item("What is 3 - 4?")], [LONG, "Other?"]).report
    assert (report["checked"], report["against"], report["removed"]) == (2, 2, 1)
    assert report["removed_by_source"] == {"s": 1}
    assert report["examples"][0]["id"] == LONG
    json.dumps(report)


def test_generated_questions_of_one_template_differ_by_their_numbers() -> None:
    template = "State the final answer to the following arithmetic problem: {} + 5 ="
    train = [item(template.format(n), "sums") for n in range(3)]
    assert kept(train, [], [template.format(1)], generated={"sums"}) == [train[0].question, train[2].question]
    assert kept(train, [template.format(1)], [], generated={"sums"}) == []


def test_the_wording_of_a_task_is_not_an_overlap_but_a_question_is() -> None:
    suffix = " Let's think step by step and output the final answer after the sign."
    names = ["Ann", "Ben", "Cleo", "Dan", "Eve", "Finn", "Gus", "Hal", "Ida", "Jon", "Kim", "Lea"]
    evaluation = [f"How many apples did {name} buy at shop number {n}?{suffix}" for n, name in enumerate(names)]
    other = item("What is the area of a circle of radius two?" + suffix)
    leaked = item(evaluation[3].removesuffix(suffix))
    assert kept([other, leaked], evaluation) == [other.question]


def test_questions_are_read_from_files_of_the_usual_columns(tmp_path: Path) -> None:
    path = tmp_path / "evaluation.jsonl"
    path.write_text('{"question": "a?"}\n{"problem": "b?"}\n\n', encoding="utf-8")
    assert read_questions(path) == ["a?", "b?"]
    path.write_text('{"query": "a?"}\n', encoding="utf-8")
    with pytest.raises(DataError, match=r"evaluation\.jsonl:1: no question"):
        read_questions(path)


def test_mathif_keywords_in_a_training_constraint_are_an_error() -> None:
    def asking(word: str) -> PromptItem:
        check = RuleCheck("keywords:existence", {"keywords": ["apple", word]})
        return item("What?", checklist=(Requirement("k", "…", check),))

    assert check_keywords([asking("banana")]) == 2
    with pytest.raises(DataError, match=r"item 'What\?': its constraints name must"):
        check_keywords([asking("Must")])


def test_mathif_files_are_read_as_they_are() -> None:
    folder = Path(__file__).parents[2] / "../shared/data/mathif"
    if not folder.is_dir():
        pytest.skip("MathIF's files are not beside the checkout")
    questions = [q for path in sorted(folder.glob("*.jsonl")) for q in read_questions(path)]
    assert len(questions) == 180
    suffix = "Let's think step by step"
    leaked = [item(question.split(suffix)[0].strip()) for question in questions]
    assert kept(leaked, questions) == []
    gsm8k = Path(__file__).parents[1] / "data" / "gsm8k_64.jsonl"
    train = [item(question) for question in read_questions(gsm8k)]
    assert len(kept(train, questions)) >= 63


def test_a_mathif_question_is_left_out_of_training_in_any_dress() -> None:
    folder = Path(__file__).parents[2] / "../shared/data/mathif"
    if not folder.is_dir():
        pytest.skip("MathIF's files are not at hand")
    question = read_questions(folder / "math500_single.jsonl")[0]
    dressed = [question, question.upper(), f"  {question}\n", question.replace(" ", "  ")]
    found = remove_known([item(text) for text in (*dressed, "How much is 2 and 40?")], MATHIF_FILE)
    assert [left.question for left in found.kept] == ["How much is 2 and 40?"]
    assert found.report == {"checked": 5, "known": 180, "removed": 4}


def test_ifevals_prompts_are_left_out_of_training_and_only_they() -> None:
    known = IFEVAL_FILE.read_text(encoding="utf-8").split()
    assert len(set(known)) == len(known) >= 540
    file = Path(__file__).parents[2] / "../shared/data/ifeval/input_data.jsonl"
    if not file.is_file():
        pytest.skip("IFEval's prompts are not at hand")
    prompts = read_questions(file)
    found = remove_known([item(text) for text in (*prompts, prompts[0] + " Thanks.")], IFEVAL_FILE)
    assert [one.question for one in found.kept] == [prompts[0] + " Thanks."]
