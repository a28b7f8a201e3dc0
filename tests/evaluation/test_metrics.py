"""Metrics by hand-computed cases."""

import pytest

from adhere.evaluation.generation import Generation
from adhere.evaluation.metrics import cross_table, measure
from adhere.evaluation.scoring import Score, ScoredRow, score_responses
from adhere.evaluation.statistics import Bootstrap
from adhere.evaluation.table import open_ranges
from adhere.prompts.item import PromptItem
from adhere.rewards.checklist import Requirement, RuleCheck
from adhere.rewards.verdict import Status, failed, passed, unscored

FAST = Bootstrap(resamples=200)
NO_COMMA, QUOTED = "punctuation:no_comma", "startend:quotation"


def item(key: str, constraints: tuple[str, ...] = (NO_COMMA,), source: str = "toy", **more) -> PromptItem:
    checklist = tuple(Requirement(f"{i}", "", RuleCheck(name)) for i, name in enumerate(constraints))
    return PromptItem(key, ({"role": "user", "content": key},), "4", checklist, source, **more)


def scored(key: str, correct: float | None, met: list[float | None], tokens=10, finished=True, sample=0, **more):
    verdicts = tuple(unscored(Status.TIMEOUT, "late") if m is None else passed() if m else failed() for m in met)
    answer = unscored(Status.TIMEOUT, "late") if correct is None else passed() if correct else failed()
    known = met and None not in met
    hacc = float(all(met)) if known else None
    sacc = sum(met) / len(met) if known else None
    joint = None if correct is None or hacc is None else float(correct == 1.0 and hacc == 1.0)
    names = (NO_COMMA, QUOTED, NO_COMMA)[: len(met)]
    return ScoredRow(
        item(key, names, **more),
        sample,
        Generation("x", tokens, finished),
        Score(answer, verdicts, hacc, sacc, joint),
    )


ROWS = [
    scored("a", 1.0, [1.0], tokens=10),
    scored("b", 1.0, [1.0, 0.0], tokens=20),
    scored("c", 0.0, [1.0, 1.0], tokens=30, source="other"),
    scored("d", 0.0, [0.0], tokens=40, finished=False),
    scored("e", None, [1.0], tokens=50),
    scored("f", 1.0, [None, 1.0], tokens=60),
]


def test_headline_means_leave_out_what_has_no_score():
    found = measure(ROWS, bootstrap=FAST)
    assert found["accuracy"]["mean"] == pytest.approx(3 / 5) and found["accuracy"]["unscored"] == 1
    assert found["hacc"]["mean"] == pytest.approx(3 / 5)
    assert found["sacc"]["mean"] == pytest.approx((1 + 0.5 + 1 + 0 + 1) / 5)
    assert found["joint"]["mean"] == pytest.approx(1 / 4) and found["joint"]["unscored"] == 2
    assert (found["responses"], found["prompts"]) == (6, 6)
    assert found["unfinished"] == pytest.approx(1 / 6)
    assert found["unscored"] == {
        "answers": {"timeout": 1},
        "constraints": {"timeout": 1},
        "generation_errors": {"error": 0},
    }


def test_two_by_two_table_counts_every_row_once():
    assert cross_table(ROWS) == {
        "correct_followed": 1,
        "correct_unfollowed": 1,
        "incorrect_followed": 1,
        "incorrect_unfollowed": 1,
        "left_out": 2,
    }


def test_breakdowns_by_constraint_count_and_source():
    found = measure(ROWS, bootstrap=FAST)
    assert found["by_constraint"][NO_COMMA]["mean"] == pytest.approx(4 / 5)
    assert found["by_constraint"][NO_COMMA]["unscored"] == 1
    assert found["by_constraint"][QUOTED]["mean"] == pytest.approx(2 / 3)
    assert list(found["by_count"]) == ["1", "2"]
    assert found["by_count"]["2"]["hacc"]["mean"] == pytest.approx(1 / 2)
    assert found["by_source"]["other"]["accuracy"]["mean"] == 0.0


def test_length_bins_hold_every_counted_response_once():
    found = measure(ROWS, bootstrap=FAST)
    assert [b["responses"] for b in found["by_length"]] == [2, 1, 1, 1, 1]
    assert found["by_length"][0]["low"] == 10 and found["by_length"][-1]["high"] == 60
    assert found["tokens"] == {"mean": 35.0, "median": 35.0, "p95": 57.5, "max": 60}
    equal = measure([scored("a", 1.0, [1.0], tokens=7), scored("b", 0.0, [1.0], tokens=7)], bootstrap=FAST)
    assert [b["responses"] for b in equal["by_length"]] == [2]
    uncounted = measure([scored("a", 1.0, [1.0], tokens=None)], bootstrap=FAST)
    assert uncounted["by_length"] == [] and uncounted["tokens"]["mean"] is None


def test_accuracy_without_constraints_is_paired_by_prompt():
    twins = [scored(f"{k}#without", c, [], meta={"twin_of": k}) for k, c in (("a", 1.0), ("b", 1.0), ("c", 1.0))]
    found = measure(ROWS, twins, FAST)
    assert found["accuracy_without"]["mean"] == 1.0
    assert found["accuracy_drop"]["mean"] == pytest.approx(-1 / 3) and found["accuracy_drop"]["n"] == 3


def test_several_samples_give_pass_at_k():
    rows = [scored("a", c, [1.0], sample=i) for i, c in enumerate([1.0, 0.0, 0.0, 0.0])]
    rows += [scored("b", 0.0, [1.0], sample=i) for i in range(4)]
    found = measure(rows, bootstrap=FAST)
    assert found["pass_at"]["accuracy"] == {"1": 0.125, "2": 0.25, "4": 0.5}
    assert found["accuracy"]["prompts"] == 2
    assert "pass_at" not in measure(ROWS, bootstrap=FAST)


def test_no_constraints_at_all_leaves_hacc_and_joint_empty():
    found = measure([scored("a", 1.0, [])], bootstrap=FAST)
    assert found["accuracy"]["mean"] == 1.0
    assert found["hacc"]["mean"] is None and found["joint"]["mean"] is None and found["by_constraint"] == {}


def test_a_failed_request_is_not_a_wrong_answer():
    lost = Generation("", None, False, error="APITimeoutError: late")
    (score,) = score_responses([(item("a"), lost)])
    assert score.correct.status is Status.ERROR and score.correct.score is None
    assert (score.hacc, score.sacc, score.joint) == (None, None, None)
    found = measure([ScoredRow(item("a"), 0, lost, score)], bootstrap=FAST)
    assert found["accuracy"]["mean"] is None
    assert found["unfinished"] is None and found["unscored"]["generation_errors"] == {"error": 1}


def test_scoring_reads_the_part_after_the_reasoning():
    inside = Generation("<think>commas, commas</think>It is \\boxed{4}", 9, True)
    opened = Generation("It is \\boxed{4} for sure", 9, False, prefilled=True)
    done, unfinished = score_responses([(item("a"), inside), (item("a"), opened)])
    assert (done.correct.score, done.hacc, done.joint) == (1.0, 1.0, 1.0)
    assert (unfinished.correct.score, unfinished.hacc, unfinished.joint) == (0.0, 0.0, 0.0)


def test_every_metric_says_which_share_the_evaluator_failed_on_and_what_that_leaves_open():
    found = measure(ROWS, bootstrap=FAST)
    spans = {m: (found[m]["left_out"], found[m]["least"], found[m]["most"]) for m in ("accuracy", "hacc", "joint")}
    assert spans["accuracy"] == pytest.approx((1 / 6, 3 / 6, 4 / 6))
    assert spans["hacc"] == pytest.approx((1 / 6, 3 / 6, 4 / 6))
    assert spans["joint"] == pytest.approx((2 / 6, 1 / 6, 3 / 6))
    by_constraint = found["by_constraint"][NO_COMMA]
    assert by_constraint["left_out"] == pytest.approx(1 / 6)


def test_a_table_names_the_share_left_out_and_the_range():
    note = open_ranges(measure(ROWS, bootstrap=FAST))
    assert note.startswith("accuracy 16.7 % left out, between 50.0 and 66.7; HAcc 16.7 % left out")
    assert open_ranges(measure(ROWS[:4], bootstrap=FAST)) == ""


def test_what_does_not_apply_is_not_left_out():
    row = scored("a", 1.0, [])
    plain = ScoredRow(
        row.item, 0, row.generation, Score(unscored(Status.NOT_APPLICABLE, "no gold"), (), None, None, None)
    )
    found = measure([row, plain], bootstrap=FAST)
    assert (found["accuracy"]["left_out"], found["accuracy"]["least"], found["accuracy"]["most"]) == (0.0, 1.0, 1.0)
    assert (found["hacc"]["left_out"], found["hacc"]["least"]) == (0.0, None)


def test_where_the_evaluator_failed_on_everything_everything_is_open():
    found = measure([scored("a", None, [None])], bootstrap=FAST)
    assert found["joint"]["mean"] is None
    assert [found["joint"][key] for key in ("left_out", "least", "most")] == [1.0, 0.0, 1.0]
