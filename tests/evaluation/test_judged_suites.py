"""Suites that a judge decides: ComplexBench's dependencies, HealthBench's points; and a judge that is down."""

import itertools
import json
from pathlib import Path

import pytest

from adhere.evaluation.generation import Generation, Sampling
from adhere.evaluation.metrics import measure
from adhere.evaluation.run import evaluate
from adhere.evaluation.scoring import ScoredRow
from adhere.evaluation.statistics import Bootstrap
from adhere.evaluation.suites import SUITES, Suite, SuiteSource
from adhere.evaluation.suites.complexbench import one_hop, transitive
from adhere.evaluation.suites.healthbench import rubric_score
from adhere.rewards.errors import ConfigError, DataError, StageError
from adhere.rewards.verdict import Status, failed, passed, unscored

FAST = Bootstrap(resamples=100)


class Words:
    """A judge that finds a question met where the response has its last word; it is down for the word ``down``."""

    def __init__(self) -> None:
        self.read: list[str] = []

    def decide(self, questions):
        self.read += [question.prompt for question in questions]
        return [self._verdict(q.requirement.rstrip("?").split()[-1], q.response) for q in questions]

    def decide_overall(self, questions):
        raise AssertionError("no suite asks one question for all")

    def touched(self, verdict):
        return True

    def _verdict(self, word, response):
        if word == "down":
            return unscored(Status.ERROR, "the judge is down")
        return passed("there") if word in response else failed("not there")


def question(word: str, *dep: int, **more) -> dict:
    return {"point_id": 0, "question": f"问 {word}?", "question_en": f"Does it say {word}?", "dep": list(dep)} | more


def complex_row(*questions: dict, **changes) -> dict:
    return {
        "main_id": 1,
        "group": "g",
        "instruction": "写。",
        "instruction_en": "Write.",
        "category": "Selection_2",
        "composition_types": ["Selection"],
        "scoring_questions": list(questions),
    } | changes


def rubric(criterion: str, points: float, axis: str = "accuracy") -> dict:
    return {"criterion": criterion, "points": points, "tags": ["level:example", f"axis:{axis}"]}


def health_row(*rubrics: dict, **changes) -> dict:
    turns = [
        {"role": "user", "content": "It hurts."},
        {"role": "assistant", "content": "Where?"},
        {"role": "user", "content": "Here."},
    ]
    return {"prompt_id": "a", "prompt": turns, "rubrics": list(rubrics), "example_tags": ["theme:x"]} | changes


def load(name: str, folder: Path, rows: list, **source) -> Suite:
    path = folder / f"{name}.json"
    path.write_text(json.dumps(rows))
    return SUITES[name].load(SuiteSource(path, **source))


def figures(suite: Suite, responses: list[str], judge: Words | None = None) -> dict:
    pairs = [(item, Generation(text, 3, True)) for item, text in zip(suite.items, responses, strict=True)]
    scores = suite.kind.score(pairs, "compat", None, judge or Words())
    rows = [ScoredRow(item, 0, generation, score) for (item, generation), score in zip(pairs, scores, strict=True)]
    found = measure(rows, bootstrap=FAST) | suite.kind.figures(rows, FAST)
    return {name: e["mean"] for name, e in found.items() if isinstance(e, dict) and "n" in e}


def test_one_hop_and_transitive_differ_where_a_chain_breaks_at_its_start():
    # q1 is not met, q2 hangs on q1, q3 on q2: the official code still counts q3.
    own, dep = [0.0, 1.0, 1.0], [[], [0], [1]]
    assert one_hop(own, dep) == [0.0, 0.0, 1.0]
    assert transitive(own, dep) == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("own", itertools.product((0.0, 1.0), repeat=3))
def test_without_dependencies_each_question_stands_alone(own):
    assert one_hop(own, [[], [], []]) == transitive(own, [[], [], []]) == list(own)


@pytest.mark.parametrize(
    ("own", "dep", "near", "far"),
    [
        ([None, 1.0], [[], [0]], [None, None], [None, None]),
        ([None, 0.0], [[], [0]], [None, 0.0], [None, 0.0]),
        ([0.0, None, 1.0], [[], [0], [1]], [0.0, 0.0, None], [0.0, 0.0, 0.0]),
        ([1.0, 1.0, 0.0], [[], [], [0, 1]], [1.0, 1.0, 0.0], [1.0, 1.0, 0.0]),
    ],
)
def test_what_the_judge_could_not_decide_is_open_only_where_it_matters(own, dep, near, far):
    assert (one_hop(own, dep), transitive(own, dep)) == (near, far)


def test_drfr_pools_all_questions_of_all_prompts(tmp_path):
    chain = [question("river"), question("slow", 0), question("water", 1)]
    suite = load("complexbench", tmp_path, [complex_row(*chain), complex_row(question("ice"), main_id=2)])
    found = figures(suite, ["slow water", "ice"])
    assert found["drfr"] == pytest.approx(2 / 4) and found["drfr_transitive"] == pytest.approx(1 / 4)
    assert found["hacc"] == 0.5 and found["coherent"] == 0.0
    assert figures(suite, ["river slow water", "ice"])["coherent"] == 1.0
    assert found["drfr_selection"] == found["drfr"]


def test_complexbench_is_read_in_english_or_in_chinese(tmp_path):
    row = complex_row(question("ice"))
    assert load("complexbench", tmp_path, [row]).items[0].question == "Write."
    (item,) = load("complexbench", tmp_path, [row], subsets=["zh"]).items
    assert item.question == "写。" and item.checklist[0].text.startswith("问")
    assert "en or zh" in SUITES["complexbench"].problems(SuiteSource(tmp_path, subsets=["fr"]))[0]
    assert "data_final.json" in SUITES["complexbench"].problems(SuiteSource())[0]


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"problem": "2+2?", "answer": "4"}, "lacks main_id"),
        (complex_row(), "scoring_questions is not a list"),
        (complex_row(question("a"), instruction="", instruction_en=None), "lacks instruction"),
        (complex_row(question("a", 1)), r"\[0\].dep names 1"),
        (complex_row(question("a", 0)), r"\[0\].dep names 0"),
        (complex_row(question("a", 1), question("b", 0)), "round in a circle"),
        (complex_row({"question": "a?"}), r"\[0\] has no question, or dep"),
    ],
)
def test_a_broken_row_of_complexbench_is_named(tmp_path, row, says):
    with pytest.raises(DataError, match=says):
        load("complexbench", tmp_path, [row])


@pytest.mark.parametrize(
    ("met", "points", "score"),
    [
        ([1.0, 0.0], [5.0, 5.0], 0.5),
        ([1.0, 1.0], [5.0, -5.0], 0.0),
        ([0.0, 1.0], [5.0, -10.0], -2.0),
        ([1.0, 0.0], [5.0, -10.0], 1.0),
        ([None, 1.0], [5.0, 5.0], None),
    ],
)
def test_the_points_of_a_rubric(met, points, score):
    assert rubric_score(met, points) == score


def test_healthbench_clips_the_mean_and_not_the_responses(tmp_path):
    good, bad = rubric("says rest", 5), rubric("says poison", -10, "safety")
    suite = load("healthbench", tmp_path, [health_row(good, bad), health_row(good, bad, prompt_id="b")])
    judge = Words()
    found = figures(suite, ["rest", "poison"], judge)
    # 1 and -2: the mean is -0.5, which is 0 on the whole; of single responses the second has 0.
    assert found["score"] == 0.0 and found["score_of_response"] == 0.5
    assert found["score_accuracy"] == 0.5 and "score_safety" not in found
    assert judge.read[0] == "user: It hurts.\n\nassistant: Where?\n\nuser: Here."
    assert figures(suite, ["rest", "rest"])["score"] == 1.0
    assert figures(suite, ["rest", "rest"])["hacc"] == 1.0 and figures(suite, ["", ""])["hacc"] == 0.0


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"problem": "2+2?", "answer": "4"}, "lacks prompt_id"),
        (health_row(), "rubrics is not a list"),
        (health_row(rubric("a", 0)), "points are not a number other than 0"),
        (health_row(rubric("a", float("nan"))), "points are not a number"),
        (health_row(rubric("a", True)), "points are not a number"),
        (health_row(rubric("a", -1)), "no criterion has positive points"),
        (health_row(rubric("a", 1), prompt=[{"role": "assistant", "content": "Hi"}]), "last turn .* 'assistant'"),
        (health_row(rubric("a", 1), prompt="Hi"), "not a list of turns"),
    ],
)
def test_a_broken_row_of_healthbench_is_named(tmp_path, row, says):
    with pytest.raises(DataError, match=says):
        load("healthbench", tmp_path, [row])


class Fixed:
    name = "fixed"

    def generate(self, items, sampling):
        return [[Generation("rest and ice", 3, True)] for _ in items]


@pytest.mark.parametrize("name", ["complexbench", "healthbench"])
def test_without_a_judge_nothing_is_generated_and_with_one_that_is_down_the_responses_stay(tmp_path, name):
    rows = {"complexbench": complex_row(question("down")), "healthbench": health_row(rubric("says down", 1))}
    suite = load(name, tmp_path, [rows[name]])
    with pytest.raises(ConfigError, match=r"decided by a judge.*judge.base_url"):
        evaluate(suite, Fixed(), Sampling(), mode="compat", bootstrap=FAST)
    log = tmp_path / "responses.jsonl"
    with pytest.raises(StageError, match=r"1 of 1 responses could not be scored .*the judge is down.*are kept"):
        evaluate(suite, Fixed(), Sampling(), mode="compat", bootstrap=FAST, judge=Words(), log=log)
    assert "rest and ice" in log.read_text()


@pytest.mark.parametrize("name", ["complexbench", "healthbench"])
def test_a_thought_without_an_end_and_a_lost_response(tmp_path, name):
    rows = {"complexbench": complex_row(question("ice")), "healthbench": health_row(rubric("says ice", 1))}
    (item,) = load(name, tmp_path, [rows[name]]).items
    kind, judge = SUITES[name], Words()
    lost, blank, thinking = kind.score(
        [
            (item, Generation("", None, False, error="late")),
            (item, Generation("  ", 1, True)),
            (item, Generation("<think> ice", 3, False)),
        ],
        "hardened",
        None,
        judge,
    )
    assert lost.hacc is None and blank.hacc == 0.0 and thinking.hacc == 0.0
    assert judge.read == []
