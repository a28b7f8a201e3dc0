"""FollowBench: rules by level, and how many levels in a row are met."""

import json
from pathlib import Path

import pytest

from adhere.evaluation.generation import Generation
from adhere.evaluation.scoring import ScoredRow
from adhere.evaluation.statistics import Bootstrap
from adhere.evaluation.suites import SUITES, SuiteSource
from adhere.evaluation.suites.followbench import check_rule
from adhere.rewards.constraints import decided
from adhere.rewards.errors import DataError

SHARED = Path(__file__).parents[2] / "../shared/data/followbench"


@pytest.mark.parametrize(
    ("rule", "level", "target", "met", "missed"),
    [
        ("E2E", 1, "name", "name", "Name"),
        ("WIKIEVENTS", 2, "a\nb", "b", "c"),
        ("CONLL2003", 1, "['a', 'b']", "a", "c"),
        ("BBH_logical", 3, "(B)", "(A), no, (B)", "(B), no, (A)"),
        ("BBH_time", 3, "01/02/2020", "It is 01/02/2020.", "It is 1/2/2020."),
        ("gsm_8k", 5, "$18", "$9 and $18", "18"),
        ("self_made_space", 1, "left", "on the left", "on the right"),
        ("xsum", 4, "", "Police are looking into it", "Police looked into it"),
        ("xsum", 2, "", "word " * 18 + "end", "word " * 20 + "end"),
        ("samsum", 5, "", "They do stuff.", "They do stuff"),
        ("gigaword", 3, "", "a b c d e f g h", "A b c d e f g h"),
        ("gigaword", 5, "", "a b c d e f in h", "a bus c d e f in h"),
        ("arxiv", 3, "", "We show it.", "They show it."),
        ("cnn_dailymail", 3, "", "Potter won. The actor won. His films won.", "Potter won. He won. His films won."),
        ("example", 1, "{instruction}\n{{'A': '{answer}'}}", "{'A': 'x y'}", "{'A': 'x'} and more"),
        ("format 22", 1, "", "a\n\nb\n\nc", "a\n\nb"),
        ("format 30", 1, "", "**a**", "a"),
        ("E2E", 1, " ", "x", " "),
    ],
)
def test_a_level_is_decided(rule, level, target, met, missed):
    if target.strip() or rule != "E2E":
        assert check_rule(rule, level, target, met).passed
    assert not check_rule(rule, level, target, missed).passed


def test_levels_count_in_a_row(tmp_path):
    rows = [
        {
            "example_id": e,
            "category": "content",
            "source": "E2E",
            "level": n,
            "instruction": f"{e} {n}",
            "target": "yes",
        }
        for e in (1, 2)
        for n in range(6)
    ]
    rows.append(rows[1] | {"source": "written by hand"})
    (tmp_path / "content_constraints.json").write_text(json.dumps(rows))
    suite = SUITES["followbench"].load(SuiteSource(tmp_path))
    assert [item.id for item in suite.items] == [f"content/{e}/{n}" for e in (1, 2) for n in range(1, 6)]
    said = ["yes", "yes", "no", "yes", "yes"] + ["yes"] * 5
    pairs = [(item, Generation(text, 1, True)) for item, text in zip(suite.items, said, strict=True)]
    scored = [
        ScoredRow(item, 0, generation, score)
        for (item, generation), score in zip(pairs, suite.kind.score(pairs, "compat"), strict=True)
    ]
    found = suite.kind.figures(scored, Bootstrap(100))
    assert found["csl"]["mean"] == 3.5 and found["hsr_level_3"]["mean"] == 0.5


class Sees:
    """A judge that finds a demand met where the response has the last word of instruction B."""

    def decide(self, questions):
        words = [q.requirement.partition("Instruction B:\n")[2].split("\n")[0].split()[-1] for q in questions]
        return [decided(word in q.response, word) for word, q in zip(words, questions, strict=True)]


def judged_rows() -> list[dict]:
    said = ["Write.", "Write of ice", "Write of ice and snow", "Write of ice and snow and hail"]
    row = {"example_id": 3, "category": "style", "source": "quora", "target": ""}
    return [row | {"level": n, "instruction": text} for n, text in enumerate(said)]


def test_a_judge_decides_what_each_level_adds(tmp_path):
    (tmp_path / "style_constraints.json").write_text(json.dumps(judged_rows()))
    suite = SUITES["followbench"].load(SuiteSource(tmp_path, subsets=["rules", "judged"]))
    assert [len(item.checklist) for item in suite.items] == [1, 2, 3]
    said = ["ice", "snow and ice", "snow and hail"]
    pairs = [(item, Generation(text, 1, True)) for item, text in zip(suite.items, said, strict=True)]
    scores = suite.kind.score(pairs, "compat", None, Sees())
    assert [score.measures["hsr"][0] for score in scores] == [1.0, 1.0, 0.0]
    assert [score.measures["ssr"][0] for score in scores] == [1.0, 1.0, pytest.approx(2 / 3)]
    rows = [ScoredRow(pair[0], 0, pair[1], score) for pair, score in zip(pairs, scores, strict=True)]
    assert suite.kind.figures(rows, Bootstrap(100))["hsr_level_2"]["mean"] == 1.0


def test_judged_groups_are_only_measured_on_demand(tmp_path):
    path = tmp_path / "style_constraints.json"
    path.write_text(json.dumps(judged_rows()))
    with pytest.raises(DataError, match="has no prompt items"):
        SUITES["followbench"].load(SuiteSource(tmp_path))
    assert "'judge'" in SUITES["followbench"].problems(SuiteSource(tmp_path, subsets=["judge"]))[0]
    path.write_text(json.dumps(judged_rows()[:1] + judged_rows()[2:]))
    with pytest.raises(DataError, match=r"example 3 has no level 1 before its level 2"):
        SUITES["followbench"].load(SuiteSource(tmp_path, subsets=["judged"]))


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared/data/followbench")
def test_with_the_judged_groups_it_is_whole():
    suite = SUITES["followbench"].load(SuiteSource(SHARED, subsets=["rules", "judged"]))
    assert len(suite.items) == 820 and sum(len(item.checklist) > 1 for item in suite.items) > 300


def test_another_file_is_refused(tmp_path):
    (tmp_path / "x.json").write_text(json.dumps([{"prompt": "x"}]))
    with pytest.raises(DataError, match=r"x\.json:1: lacks example_id"):
        SUITES["followbench"].load(SuiteSource(tmp_path / "x.json"))
    with pytest.raises(DataError, match=r"holds no \*_constraints\.json"):
        SUITES["followbench"].load(SuiteSource(tmp_path))


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared/data/followbench")
def test_every_group_of_the_files_is_whole():
    suite = SUITES["followbench"].load(SuiteSource(SHARED))
    groups: dict[str, set[int]] = {}
    for item in suite.items:
        groups.setdefault(item.meta["group"], set()).add(item.meta["level"])
    assert len(groups) >= 40 and all(levels == {1, 2, 3, 4, 5} for levels in groups.values())
