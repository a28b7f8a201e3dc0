"""The benchmarks by name: rows as they are published, official figures, other benchmarks' files refused."""

import gzip
import importlib.util
import json
from pathlib import Path

import pytest

from adhere.evaluation.generation import Generation
from adhere.evaluation.metrics import measure
from adhere.evaluation.scoring import ScoredRow
from adhere.evaluation.statistics import Bootstrap
from adhere.evaluation.suites import SUITES, Suite, SuiteSource
from adhere.evaluation.suites.ifeval import FAULTY
from adhere.rewards.errors import AdhereError, ConfigError, DataError

SHARED = Path(__file__).parents[2] / "../shared"
FAST = Bootstrap(resamples=100)

IFEVAL = {
    "key": 7,
    "prompt": "Describe a river. Use no commas. Write at least 5 words.",
    "instruction_id_list": ["punctuation:no_comma", "length_constraints:number_words"],
    "kwargs": [{}, {"relation": "at least", "num_words": 5, "letter": None}],
}
IFBENCH = {
    "key": "0",
    "prompt": "Describe a river in 3 to 5 words.",
    "instruction_id_list": ["count:word_count_range"],
    "kwargs": [{"min_words": 3.0, "max_words": 5, "N": None}],
}
MULDIMIF = {
    "id": "1",
    "conversations": [{"role": "user", "content": "Name rivers. At most 4 words. Include the keyword 'Rhine'."}],
    "constraints": [
        ["Length", "Words", "At most 4 words"],
        ["Content", "Keywords", "Must include the keyword 'Rhine'"],
    ],
    "constraint_pattern": "Listing",
    "difficulty": "Level 2",
}


def load(name: str, folder: Path, rows: list) -> Suite:
    path = folder / f"{name}.json"
    path.write_text(json.dumps(rows))
    return SUITES[name].load(SuiteSource(path))


def figures(suite: Suite, responses: list[str], mode: str = "compat") -> dict[str, float | None]:
    pairs = [(item, Generation(text, 3, True)) for item, text in zip(suite.items, responses, strict=True)]
    scores = suite.kind.score(pairs, mode)
    rows = [ScoredRow(item, 0, generation, score) for (item, generation), score in zip(pairs, scores, strict=True)]
    found = measure(rows, bootstrap=FAST) | suite.kind.figures(rows, FAST)
    return {
        name: estimate["mean"] for name, estimate in found.items() if isinstance(estimate, dict) and "n" in estimate
    }


def test_ifeval_has_its_four_official_figures(tmp_path):
    rows = [IFEVAL, IFEVAL | {"key": 8, "instruction_id_list": ["punctuation:no_comma"], "kwargs": [None]}]
    suite = load("ifeval", tmp_path, rows)
    assert [item.id for item in suite.items] == ["7", "8"]
    # The first keeps one of two; the second only without its first line, which is a loose reading.
    found = figures(suite, ["Slow brown water.", "Sure, here:\nA slow one."])
    assert (found["prompt_strict"], found["prompt_loose"]) == (0.0, 0.5)
    assert found["instruction_strict"] == pytest.approx(1 / 3) and found["instruction_loose"] == pytest.approx(2 / 3)
    assert found["hacc"] == found["prompt_strict"] and found["accuracy"] is None


@pytest.mark.parametrize(
    ("response", "mode", "met"),
    [
        ("<think>yes, no</think>\nA slow brown wide river", "compat", 1.0),
        ("<think>yes, no</think>\nA slow, brown wide river", "compat", 0.0),
        ("<think>a slow brown wide river", "hardened", 0.0),
        ("<think>a slow brown wide river", "compat", 1.0),
        ("", "compat", 0.0),
        ("   ", "hardened", 0.0),
    ],
)
def test_what_follows_the_reasoning_is_judged(tmp_path, response, mode, met):
    assert figures(load("ifeval", tmp_path, [IFEVAL]), [response], mode)["prompt_loose"] == met


def test_a_response_that_was_lost_is_not_scored(tmp_path):
    suite = load("ifeval", tmp_path, [IFEVAL])
    (score,) = suite.kind.score([(suite.items[0], Generation("", None, False, error="late"))], "compat")
    assert score.hacc is None and score.measures["instruction_loose"] == (None, None)


@pytest.mark.skipif(not (SHARED / "oracle").is_dir(), reason="needs ../shared/oracle")
def test_ifeval_agrees_with_the_official_verdicts():
    suite = SUITES["ifeval"].load(SuiteSource(SHARED / "data/ifeval/input_data.jsonl"))
    with gzip.open(SHARED / "oracle/ifeval_gpt4_verdicts.jsonl.gz", "rt") as lines:
        official = {str(row["key"]): row for row in map(json.loads, lines)}
    items = [item for item in suite.items if item.id in official]
    scores = suite.kind.score([(i, Generation(official[i.id]["response"], None, True)) for i in items], "compat")
    for way in ("strict", "loose"):
        ours = [list(score.measures[f"instruction_{way}"]) for score in scores]
        assert ours == [[float(c[way]) for c in official[item.id]["constraints"]] for item in items]


@pytest.mark.skipif(not (SHARED / "data/ifeval").is_dir(), reason="needs ../shared/data/ifeval")
def test_the_faulty_rows_of_ifeval_are_flagged_and_their_repaired_form_is_not(tmp_path):
    rows = [json.loads(line) for line in (SHARED / "data/ifeval/input_data.jsonl").open()]
    (tmp_path / "mended.jsonl").write_text(
        "".join(json.dumps(row | {"prompt": row["prompt"].replace("at least 6 times", "less than 6 times")}) + "\n"
                for row in rows if row["key"] in (1174, 1000, 337))
    )  # fmt: skip
    whole = SUITES["ifeval"].load(SuiteSource(SHARED / "data/ifeval/input_data.jsonl"))
    assert len(whole.flags[FAULTY]) == 74 and {"1174", "337"} <= set(whole.flags[FAULTY])
    assert "1000" not in whole.flags[FAULTY]
    assert SUITES["ifeval"].load(SuiteSource(tmp_path / "mended.jsonl")).flags[FAULTY] == ("337",)


CAN_IFBENCH = not SUITES["ifbench"].problems(SuiteSource())


@pytest.mark.skipif(importlib.util.find_spec("if_verifiable") is not None, reason="if-verifiable is installed")
def test_ifbench_says_what_is_missing(tmp_path):
    with pytest.raises(ConfigError, match=r"ifbench needs .*if_verifiable.*pip install 'adhere\[ifbench\]'"):
        load("ifbench", tmp_path, [IFBENCH])


@pytest.mark.skipif(not CAN_IFBENCH, reason="needs if-verifiable and NLTK's data (NLTK_DATA)")
def test_ifbench_is_strict_and_loose(tmp_path):
    suite = load("ifbench", tmp_path, [IFBENCH, IFBENCH | {"key": "1"}, IFBENCH | {"key": "2"}])
    found = figures(suite, ["Slow brown water.", "Sure:\nSlow brown water.\nThat is it, my friend.", ""])
    assert found["prompt_strict"] == pytest.approx(1 / 3) and found["prompt_loose"] == pytest.approx(2 / 3)
    with pytest.raises(DataError, match="suite=ifeval"):
        load("ifbench", tmp_path, [IFEVAL])


def test_muldimif_has_its_figures_by_pattern_and_level(tmp_path):
    suite = load("muldimif", tmp_path, [MULDIMIF, MULDIMIF | {"id": "2", "difficulty": "Level 3"}])
    found = figures(suite, ["The Rhine", "The long brown river rhine"])
    assert (found["prompt_accuracy"], found["constraint_accuracy"]) == (0.5, 0.75)
    assert (found["prompt_accuracy_level_2"], found["prompt_accuracy_level_3"]) == (1.0, 0.0)
    assert found["prompt_accuracy_listing"] == 0.5
    assert figures(suite, ["", " "])["constraint_accuracy"] == 0.0


@pytest.mark.skipif(not (SHARED / "data/muldimif").is_dir(), reason="needs ../shared/data/muldimif")
def test_every_constraint_of_muldimif_has_a_rule():
    suite = SUITES["muldimif"].load(SuiteSource(SHARED / "data/muldimif/test.json"))
    assert len(suite.items) == 1200 and sum(len(item.checklist) for item in suite.items) == 4180


@pytest.mark.parametrize(
    ("name", "row", "right", "wrong"),
    [
        ("gsm8k", {"question": "2+2?", "answer": "Add. 2+2=<<2+2=4>>4\n#### 4"}, "So\n#### 4", "So\n#### 5"),
        ("math500", {"problem": "x?", "answer": "\\frac{1}{2}", "level": 2}, "\\boxed{0.5}", "\\boxed{2}"),
        ("aime26", {"problem": "n?", "answer": "204"}, "\\boxed{204}", "\\boxed{205}"),
        ("amc", {"problem": "n?", "answer": 142.0}, "\\boxed{142}", "\\boxed{1420}"),
        ("minerva", {"problem": "v?", "answer": ["6630.65\n", "6630\n"]}, "\\boxed{6630}", "\\boxed{66.3}"),
        ("olympiad", {"problem": "n?", "answer": ["2"]}, "\\boxed{2}", "\\boxed{}"),
    ],
)
def test_maths_suites_read_their_rows(tmp_path, name, row, right, wrong):
    suite = load(name, tmp_path, [row, row])
    assert [item.source for item in suite.items] == [name] * 2 and len({item.id for item in suite.items}) == 2
    assert "\\boxed" in suite.items[0].messages[0]["content"]
    assert figures(suite, [right, wrong], "hardened")["accuracy"] == 0.5


@pytest.mark.parametrize(
    ("name", "row", "says"),
    [
        ("ifeval", IFBENCH, "use suite=ifbench"),
        ("ifeval", {"question": "2+2?", "answer": "4"}, "lacks key, prompt"),
        ("ifeval", IFEVAL | {"kwargs": [{}]}, "2 instruction ids and 1 kwargs"),
        ("ifeval", IFEVAL | {"kwargs": [{}, 3]}, "kwargs holds 3"),
        ("ifeval", IFEVAL | {"instruction_id_list": []}, "one or more ids"),
        ("ifeval", IFEVAL | {"prompt": " "}, "prompt is not a text"),
        ("ifeval", IFEVAL | {"kwargs": [{}, {"relation": "at least"}]}, "kwargs[1]"),
        ("muldimif", IFEVAL, "lacks id, conversations"),
        ("muldimif", MULDIMIF | {"constraints": [["Length", "Words"]]}, "a constraint is [category, kind, text]"),
        ("muldimif", MULDIMIF | {"constraints": [["Taste", "Sour", "x"]]}, "no rule decides Taste, Sour"),
        ("muldimif", MULDIMIF | {"conversations": []}, "does not begin with a turn of the user"),
        ("gsm8k", IFEVAL, "has no problem"),
        ("gsm8k", {"question": "2+2?"}, "has no answer"),
        ("gsm8k", {"problem": "x?", "answer": "\\frac{1}{2}"}, "is not a number"),
        ("aime24", {"problem": "x?", "answer": "1204"}, "not a whole number from 0 to 999"),
        ("aime25", {"problem": "x?", "answer": "\\sqrt{2}"}, "not a whole number from 0 to 999"),
        ("math500", {"problem": "x?", "answer": {}}, "answer is {}"),
        ("math500", {"problem": "x?", "answer": []}, "the gold answer is empty"),
    ],
)
def test_a_row_of_another_benchmark_is_refused(tmp_path, name, row, says):
    with pytest.raises(AdhereError) as caught:
        load(name, tmp_path, [row])
    assert f"{name}.json:1" in str(caught.value) and says in str(caught.value)


def test_a_file_with_too_many_rows_is_another_split(tmp_path):
    with pytest.raises(DataError, match="aime24 has 30 problems, and there are 31 rows"):
        load("aime24", tmp_path, [{"problem": f"{n}?", "answer": n} for n in range(31)])


@pytest.mark.skipif(not (SHARED / "data/mathsuite").is_dir(), reason="needs ../shared/data/mathsuite")
def test_a_year_of_aime_is_not_taken_for_another():
    folder = SHARED / "data/mathsuite"
    for name, file in (("aime24", "aime"), ("aime25", "aime_2025")):
        suite = SUITES[name].load(SuiteSource(folder / f"{file}.jsonl"))
        gold = [f"\\boxed{{{item.answer}}}" for item in suite.items]
        assert figures(suite, gold, "hardened")["accuracy"] == 1.0
        for other in {"aime24", "aime25", "aime26"} - {name}:
            with pytest.raises(DataError, match=f"then use suite={name}"):
                SUITES[other].load(SuiteSource(folder / f"{file}.jsonl"))


def test_a_limit_takes_the_first_prompts(tmp_path):
    path = tmp_path / "rows.json"
    path.write_text(json.dumps([IFEVAL | {"key": k} for k in range(5)]))
    assert [i.id for i in SUITES["ifeval"].load(SuiteSource(path, limit=2)).items] == ["0", "1"]


def test_a_suite_without_a_path_is_identified_by_its_data_set():
    keys = {name: SUITES[name].fingerprint(SuiteSource()) for name in ("ifeval", "gsm8k", "math500", "aime26")}
    assert len(set(keys.values())) == len(keys)


GSM8K_TRAIN = [
    {"question": "A has 2 pens and buys 3. How many?", "answer": "2+3=<<2+3=5>>5 pens.\n#### 5"},
    {"question": "Half of 8?", "answer": "8/2=<<8/2=4>>4\n#### 4"},
]


def test_examples_stand_before_each_question_as_turns(tmp_path):
    rows = "".join(json.dumps(row) + "\n" for row in GSM8K_TRAIN)
    (tmp_path / "train.jsonl").write_text(rows)
    (tmp_path / "test.jsonl").write_text(json.dumps({"question": "6*7?", "answer": "6*7=<<6*7=42>>42\n#### 42"}))
    source = SuiteSource(tmp_path / "test.jsonl", few_shot=2)
    kind = SUITES["gsm8k"]
    (item,) = kind.load(source).items
    assert [turn["role"] for turn in item.messages] == ["user", "assistant"] * 2 + ["user"]
    assert item.messages[1]["content"] == "2+3=5 pens.\n\\boxed{5}"
    assert item.messages[2]["content"] == "Half of 8?\nPut the final answer in \\boxed{}."
    assert item.messages[-1]["content"].startswith("6*7?") and item.question == "6*7?"
    (plain,) = kind.load(SuiteSource(tmp_path / "test.jsonl")).items
    assert plain.messages == item.messages[-1:]
    # Other examples are another suite to a stage's key, and training may read the file that they come from.
    keys = {kind.fingerprint(SuiteSource(tmp_path / "test.jsonl", few_shot=n)) for n in (0, 1, 2)}
    assert len(keys) == 3 and kind.files(source) == [tmp_path / "test.jsonl"]
    with pytest.raises(DataError, match="few_shot 3 asks for more examples"):
        kind.load(SuiteSource(tmp_path / "test.jsonl", few_shot=3))
    (tmp_path / "train.jsonl").write_text(json.dumps({"question": "x", "answer": "5"}))
    with pytest.raises(DataError, match=r"train.jsonl:1: is not a row of GSM8K's training split"):
        kind.load(source)
    (tmp_path / "train.jsonl").unlink()
    assert "there is no" in kind.problems(source)[0] and kind.problems(SuiteSource(tmp_path / "test.jsonl")) == []


def test_a_revision_of_the_hubs_data_set_is_in_the_key():
    kind = SUITES["gsm8k"]
    assert kind.fingerprint(SuiteSource()) != kind.fingerprint(SuiteSource(revision="abc"))
