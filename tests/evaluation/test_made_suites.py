"""Suites made here: golds by another way, variants, hostile responses; rows of ReasonIF and LogicIFEval."""

import itertools
import json
import re
from collections import Counter
from pathlib import Path

import pytest

from adhere.evaluation.generation import Generation
from adhere.evaluation.metrics import measure
from adhere.evaluation.scoring import ScoredRow
from adhere.evaluation.statistics import Bootstrap
from adhere.evaluation.suites import SUITES, Suite, SuiteSource, alchemy, logic_functions, ood
from adhere.evaluation.suites.logicif import last_result, same_value
from adhere.rewards.errors import DataError

FAST = Bootstrap(resamples=100)


def load(name: str, folder: Path, rows: list) -> Suite:
    path = folder / f"{name}.json"
    path.write_text(json.dumps(rows))
    return SUITES[name].load(SuiteSource(path))


def figures(suite: Suite, responses: list[str], mode: str = "hardened") -> dict:
    pairs = [(item, Generation(text, 3, True)) for item, text in zip(suite.items, responses, strict=True)]
    scores = suite.kind.score(pairs, mode)
    rows = [ScoredRow(item, 0, generation, score) for (item, generation), score in zip(pairs, scores, strict=True)]
    found = measure(rows, bootstrap=FAST) | suite.kind.figures(rows, FAST)
    return {name: e["mean"] for name, e in found.items() if isinstance(e, dict) and "n" in e}


# logicif


def by_reading(text: str) -> tuple[int, dict[str, int]]:
    """Follow the words of a prompt, as a reader would: the rules are read out of the text, not out of the data."""
    total = int(re.search(r"begins at (-?\d+)", text)[1])
    numbers = json.loads(re.search(r"List: (\[.*\])", text)[1])
    again = re.search(r"(\d+) times in all", text)
    lines = re.findall(r"^\d+\. If (.*?), (add|subtract|multiply|replace|go on)(.*)\.$", text, re.MULTILINE)
    counts, before = [0] * len(lines), None
    for number in numbers * (int(again[1]) if again else 1):
        for i, (condition, verb, rest) in enumerate(lines):
            value = int(found[0]) if (found := re.findall(r"-?\d+", condition)) else 0
            if "even" in condition or "odd" in condition:
                holds = (number % 2 == 0) == ("even" in condition)
            elif "multiple" in condition:
                holds = total % value == 0
            elif "before it" in condition:
                holds = before is not None and number > before
            else:
                holds = number > value if "greater" in condition else number < value
            if not holds:
                continue
            counts[i] += 1
            if verb == "go on":
                break
            amount = int(found[0]) if (found := re.findall(r"-?\d+", rest)) else number
            total = {
                "add": total + amount,
                "subtract": total - amount,
                "multiply": total * amount,
                "replace": total - amount * (total // amount) if amount else total,
            }[verb]
        before = number
    return total, {f"rule_{i}": count for i, count in enumerate(counts, start=1)}


def test_the_golds_of_logicif_are_what_its_words_say():
    made = list(logic_functions.functions())
    assert Counter(one.level for one in made) == {"easy": 40, "medium": 40, "hard": 40}
    for one in made:
        assert by_reading(one.text) == (one.output, one.stats), one.text
    assert made == list(logic_functions.functions()) and made != list(logic_functions.functions(1))
    assert {rule.action for one in made for rule in one.rules} == set(logic_functions.ACTIONS)


def test_every_rule_of_logicif_applies_somewhere():
    groups = itertools.groupby(logic_functions.functions(), key=lambda one: one.name)
    for _, cases in groups:
        stats = [case.stats for case in cases]
        assert all(sum(found[key] for found in stats) > 0 for key in stats[0])


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('so {"output": 3, "stats": {"a": 1}}', {"output": 3, "stats": {"a": 1}}),
        ('{"output": 1, "stats": {}} no: {"output": 2, "stats": {}}', {"output": 2, "stats": {}}),
        ('```json\n{"output": [1, {"b": 2}]}\n```', {"output": [1, {"b": 2}]}),
        ('{"stats": {"output": 1}}', None),
        ('**Output:** 5\n**Statistics:** {"a": 2}', {"output": 5, "stats": {"a": 2}}),
        ("**Output:** five\n**Statistics:** {}", None),
        ('\\boxed{3} and {x} {"output": 3', None),
        ("", None),
        ('{"a":' * 50_000, None),
        ('{"output": ' + "9" * 5000 + "}", None),
        ("{" * 100_000 + '{"output": 4}', {"output": 4}),
        ('{"output": 1}' + "{" * 1000, {"output": 1}),
    ],
)
def test_the_last_object_with_an_output_is_the_result(text, found):
    assert last_result(text) == found


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        (5, 5, True), (5, 5.0, True), (5, 6, False), (0.1 + 0.2, 0.3, True), (True, 1, True), ("5", 5, False),
        ([1, [2]], [1, [2]], True), ([1, 2], [2, 1], False), ({"a": 1}, {"a": 1}, True), ({"a": 1}, {}, False),
        (None, None, True), (None, 0, False), (float("nan"), 1, False), (float("inf"), 10**400, False),
        ("a", "a", True),
    ],
)  # fmt: skip
def test_results_are_compared_by_value(one, other, equal):
    assert same_value(one, other) is equal


LOGIC_ROW = {
    "task_id": "f", "test_case_id": 0, "instruction": "Work it out.", "function": "def f(): ...",
    "code_output": {"output": 20, "stats": {"used": True, "units": 5}},
}  # fmt: skip


def test_logicifeval_has_output_stats_both_and_the_question_as_a_whole(tmp_path):
    suite = load("logicif", tmp_path, [LOGIC_ROW, LOGIC_ROW | {"test_case_id": 1}, LOGIC_ROW | {"task_id": "g"}])
    right, wrong_stats = '{"output": 20, "stats": {"used": 1, "units": 5}}', '{"output": 20, "stats": {"units": 5}}'
    found = figures(suite, [right, wrong_stats, right])
    assert found["output"] == 1.0 and found["stats"] == found["both"] == found["accuracy"] == pytest.approx(2 / 3)
    assert found["question_both"] == 0.5 and found["unreadable"] == 0.0
    assert figures(suite, [right, "20", right])["unreadable"] == pytest.approx(1 / 3)
    assert figures(suite, [f"<think>{right}</think> 20", f"<think>{right}", right])["both"] == pytest.approx(1 / 3)


def test_a_row_of_the_hub_has_its_gold_as_text(tmp_path):
    (item,) = load("logicif", tmp_path, [LOGIC_ROW | {"code_output": json.dumps(LOGIC_ROW["code_output"])}]).items
    assert item.meta["stats"] == {"used": True, "units": 5}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"code_output": "no"}, "not valid JSON"),
        ({"code_output": {"output": 1}}, "no object stats"),
        ({"code_output": {"stats": {}}}, "has no output"),
        ({"instruction": " "}, "instruction is not a text"),
    ],
)
def test_a_broken_row_of_logicifeval_is_named(tmp_path, changes, says):
    with pytest.raises(DataError, match=says):
        load("logicif", tmp_path, [LOGIC_ROW | changes])
    with pytest.raises(DataError, match="lacks task_id"):
        load("logicif", tmp_path, [{"question": "2+2?", "answer": "4"}])


# ood


def test_the_golds_of_ood_by_brute_force():
    made = list(ood.made_problems())
    assert len(made) == 120
    for _, problem, _ in made:
        solved = ood.KINDS[problem.kind].solve(problem)
        if problem.kind == "basket":
            said = re.findall(r"are (\d+) \w+ in it, for (\d+)", ood.worded(problem))
            assert solved == sum(int(a) * int(b) for a, b in said)
        elif problem.kind == "ways":
            roads = {frozenset(road[:2]): road[2] for road in problem.elements}
            ways = [
                sum(roads[frozenset(step)] for step in itertools.pairwise("A" + "".join(middle) + "F"))
                for n in range(5)
                for middle in itertools.permutations("BCDE", n)
                if all(frozenset(step) in roads for step in itertools.pairwise("A" + "".join(middle) + "F"))
            ]
            assert solved == min(ways)
        else:
            chosen = [
                c for n in range(len(problem.elements) + 1) for c in itertools.combinations(problem.elements, n)
                if sum(thing[1] for thing in c) <= problem.limit
            ]  # fmt: skip
            assert solved == max(sum(thing[2] for thing in c) for c in chosen)


def test_each_variant_of_ood_is_what_it_is_called():
    groups: dict[str, dict[str, object]] = {}
    for item in SUITES["ood"].load(SuiteSource()).items:
        groups.setdefault(item.meta["group"], {})[item.meta["variant"]] = item
    assert len(groups) == 120
    assert min(sum(name in made for made in groups.values()) for name in ood.VARIANTS) > 80
    for made in groups.values():
        first = made["original"]
        sentences = first.question.count(". ")
        for name, item in made.items():
            assert (item.answer != first.answer) == (name in ood.MOVED)
            assert item.meta["original"] == first.answer
        if "n_minus_1" in made:
            gone = set(first.question.split(". ")) - set(made["n_minus_1"].question.split(". "))
            assert len(gone) == 1 and made["n_minus_1"].question.count(". ") == sentences - 1
        if "number" in made:
            assert re.sub(r"\d+", "#", made["number"].question) == re.sub(r"\d+", "#", first.question)
        if "longer" in made:
            assert made["longer"].question.count(". ") == sentences + 3
        assert Counter(re.findall(r"\d+", made["format"].question)) == Counter(re.findall(r"\d+", first.question))


def test_ood_has_accuracy_gaps_and_the_echo_of_the_original():
    suite = SUITES["ood"].load(SuiteSource(limit=12))
    right = figures(suite, [f"\\boxed{{{item.answer}}}" for item in suite.items])
    assert right["accuracy"] == 1.0 and right["gap_n_minus_1"] == 0.0 and right["template_echo"] == 0.0
    parrot = figures(suite, [f"\\boxed{{{item.meta['original']}}}" for item in suite.items])
    assert parrot["accuracy_original"] == parrot["accuracy_clause"] == parrot["accuracy_format"] == 1.0
    assert parrot["accuracy_n_minus_1"] == 0.0 and parrot["gap_number"] == -1.0 and parrot["template_echo"] == 1.0
    mute = figures(suite, ["" for _ in suite.items])
    assert mute["accuracy"] == 0.0 and mute["template_echo"] == 0.0


@pytest.mark.parametrize("name", ["ood", "alchemy"])
def test_a_suite_made_here_takes_no_file(tmp_path, name):
    assert "leave the path out" in SUITES[name].problems(SuiteSource(tmp_path))[0]
    assert SUITES[name].problems(SuiteSource()) == []
    assert SUITES[name].load(SuiteSource()).fingerprint() == SUITES[name].load(SuiteSource()).fingerprint()


# alchemy


def test_the_operations_obey_their_laws():
    for word in ("AB", "NOPQ", "ZAZA", "HELLOWORLD"):
        assert alchemy.apply_chain(["F1", "F1"], word) == alchemy.apply_chain(["F3", "F3"], word) == word
        assert alchemy.apply_chain(["F2"] * len(word), word) == word
        assert alchemy.apply_chain(["F1", "F2"], word) == alchemy.apply_chain(["F2", "F1"], word)
    assert alchemy.apply_chain(["F1"], "ABCD") == "NOPQ" and alchemy.apply_chain(["F2"], "ABCD") == "BCDA"


@pytest.mark.parametrize(
    ("one", "other", "distance"),
    [("", "", 0), ("ABC", "", 3), ("ABC", "ABC", 0), ("ABC", "BC", 1), ("ABCD", "ACBD", 2), ("KITTEN", "SITTING", 3)],
)
def test_edit_distance(one, other, distance):
    assert alchemy.edit_distance(one, other) == alchemy.edit_distance(other, one) == distance


def test_alchemy_counts_exact_words_by_axis():
    suite = SUITES["alchemy"].load(SuiteSource())
    assert Counter(item.meta["axis"] for item in suite.items) == dict.fromkeys(alchemy.AXES, 40)
    found = figures(suite, [f"I see. <answer>{' '.join(item.meta['target'])}</answer>" for item in suite.items])
    assert found["exact"] == found["similarity_task"] == found["exact_length"] == 1.0
    # With spaces and in capitals none of the four demands is met.
    assert found["hacc"] == 0.0 and found["joint"] == 0.0
    for wrong in ("", "<answer></answer>", "<answer>" * 1000, "ABCD"):
        assert figures(suite, [wrong] * len(suite.items))["exact"] == 0.0


@pytest.mark.parametrize(
    ("variant", "met", "missed"),
    [
        ("lower", "n o p q", "n o p Q"),
        ("commas", "N,O,P,Q", "N, O, P, Q"),
        ("joined", "NOPQ", "NO PQ"),
        ("quoted", '"N O P Q"', "N O P Q"),
    ],
)
def test_each_demand_on_the_answer(variant, met, missed):
    suite = SUITES["alchemy"].load(SuiteSource())
    item = next(i for i in suite.items if i.checklist and i.checklist[0].label == variant)
    for answer, follows in ((met, 1.0), (missed, 0.0)):
        letters = dict(zip("NOPQ", item.meta["target"], strict=True))
        letters |= {one.lower(): letter.lower() for one, letter in letters.items()}
        given = re.sub("[NOPQ]", lambda found, letters=letters: letters[found[0]], answer, flags=re.IGNORECASE)
        (score,) = suite.kind.score([(item, Generation(f"<answer>{given}</answer>", 3, True))], "hardened")
        assert (score.correct.score, score.hacc, score.joint) == (1.0, follows, follows)


def test_noise_leaves_what_a_prompt_says():
    line = "A B C D [F1] [F2]"
    for change in alchemy.NOISE.values():
        assert change(line) != line
        assert re.findall(r"[A-Z]\d?", change(line).upper()) == ["A", "B", "C", "D", "F1", "F2"]


# reasonif


def reason_row(name: str = "punctuation:no_comma", kwargs: object = None, **changes) -> dict:
    return {
        "source": "gsm8k", "hf_id": "openai/gsm8k", "question": "6*7?", "answer": " 42", "constraint_name": [name],
        "constraint_args": [kwargs], "prompt": "Think step-by-step. **When reasoning, no commas.** 6*7?",
    } | changes  # fmt: skip


@pytest.mark.parametrize(
    ("response", "trace", "answer", "right"),
    [
        ("<think>six sevens</think> So, <answer>42</answer>", 1.0, 0.0, 1.0),
        ("<think>six, sevens</think> So <answer>42</answer>", 0.0, 1.0, 1.0),
        ("<think>six sevens</think> So <answer>41</answer>", 1.0, 1.0, 0.0),
        ("So <answer>42</answer>", 0.0, 1.0, 1.0),
        ("<think>six sevens and no end", 0.0, 0.0, 0.0),
        ("<think></think> <answer>42</answer>", 0.0, 1.0, 1.0),
        ("", 0.0, 0.0, 0.0),
    ],
)
def test_reasonif_is_about_the_trace(tmp_path, response, trace, answer, right):
    found = figures(load("reasonif", tmp_path, [reason_row()]), [response])
    assert (found["trace_ifs"], found["answer_ifs"], found["accuracy"]) == (trace, answer, right)
    assert found["hacc"] == trace and found["joint"] == trace * right


@pytest.mark.parametrize(
    ("name", "kwargs", "follows", "breaks"),
    [
        ("length_constraint_checkers:number_words", {"num_words": 4}, "one two three", "one two three four"),
        ("startend:end_checker", {"end_phrase": "BY AI"}, "made by AI", "by AI, made"),
        ("detectable_format:json_format", None, '{"a": 1}', "a: 1"),
        ("change_case:english_capital", None, "THE ANSWER IS SIX TIMES SEVEN", "The answer is six times seven"),
        (
            "language:reasoning_language",
            {"language": "fr"},
            "Je pense que la réponse est quarante-deux ici",
            "I think so",
        ),
    ],
)
def test_each_of_the_six_constraints_of_reasonif(tmp_path, name, kwargs, follows, breaks):
    suite = load("reasonif", tmp_path, [reason_row(name, kwargs)])
    assert figures(suite, [f"<think>{follows}</think> <answer>42</answer>"], "compat")["trace_ifs"] == 1.0
    assert figures(suite, [f"<think>{breaks}</think> <answer>42</answer>"], "compat")["trace_ifs"] == 0.0


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"question": "2+2?", "answer": "4"}, "lacks source"),
        (reason_row("punctuation:no_coma"), "did you mean 'punctuation:no_comma'"),
        (reason_row(constraint_args=[]), "two lists of one length"),
        (reason_row(constraint_args=["x"]), r"constraint_args\[0\] is 'x'"),
        (reason_row(prompt=None), "prompt is not a text"),
    ],
)
def test_a_broken_row_of_reasonif_is_named(tmp_path, row, says):
    with pytest.raises(DataError, match=says):
        load("reasonif", tmp_path, [row])
    assert "reasonIF_dataset.json" in SUITES["reasonif"].problems(SuiteSource())[0]
