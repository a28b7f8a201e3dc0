"""The suite ``abstention``: twins that cannot be answered, what counts as saying so, recall, precision and F1."""

import json

import pytest

from adhere.evaluation.generation import Generation
from adhere.evaluation.scoring import ScoredRow
from adhere.evaluation.statistics import Bootstrap
from adhere.evaluation.suites import SUITES, SuiteSource
from adhere.evaluation.suites.abstention import abstains, contradicted, without_context
from adhere.rewards.errors import DataError

PROBLEM = "Ann has 3 apples. She buys 4 more. How many apples does she have?"


def test_a_twin_has_no_answer():
    assert without_context(PROBLEM) == "How many apples does she have?"
    text = contradicted(PROBLEM)
    assert text is not None and "Yet the 3 mentioned above are in truth 6" in text
    assert text.endswith("How many apples does she have?")


@pytest.mark.parametrize(
    "question", ["How many is 3 and 4?", "Ann has apples. Count them.", "Ann left. How many of 3 apples are left?"]
)
def test_a_problem_without_context_or_numbers_before_the_question_has_no_twin(question):
    assert without_context(question) is None and contradicted(question) is None


@pytest.mark.parametrize(
    ("text", "abstained"),
    [
        ("This cannot be determined from what is given.", True),
        ("There is not enough information.", True),
        ("The statements contradict each other, so \\boxed{\\text{no answer}}.", True),
        ("I can't answer that.", True),
        ("It might seem that it cannot be determined, but \\boxed{7}.", False),
        ("\\boxed{7}", False),
        ("The unknown x is \\boxed{x = 7}", False),
        ("", False),
    ],
)
def test_what_counts_as_abstaining(text, abstained):
    assert abstains(text) is abstained


def test_recall_precision_and_f1(tmp_path):
    path = tmp_path / "problems.jsonl"
    path.write_text("".join(json.dumps({"question": PROBLEM, "answer": "7"}) + "\n" for _ in range(2)))
    suite = SUITES["abstention"].load(SuiteSource(path))
    assert [bool(item.meta["abstain"]) for item in suite.items] == [False, True, True] * 2
    no, seven = "It cannot be determined.", "\\boxed{7}"
    said = [seven, no, no, no, no, seven]  # one of the answerable is refused, one of the others is answered
    pairs = [(item, Generation(text, 1, True)) for item, text in zip(suite.items, said, strict=True)]
    scores = suite.kind.score(pairs, "hardened")
    rows = [ScoredRow(item, 0, g, score) for (item, g), score in zip(pairs, scores, strict=True)]
    found = {name: estimate["mean"] for name, estimate in suite.kind.figures(rows, Bootstrap(100)).items()}
    assert found == {"abstention_recall": 0.75, "abstention_precision": 0.75, "abstention_f1": 0.75}
    assert [score.correct.score for score in scores] == [1.0, None, None, 0.0, None, None]


def test_a_file_without_word_problems_is_refused(tmp_path):
    path = tmp_path / "sums.jsonl"
    path.write_text(json.dumps({"question": "3 + 4?", "answer": "7"}) + "\n")
    with pytest.raises(DataError, match="no word problem"):
        SUITES["abstention"].load(SuiteSource(path))
