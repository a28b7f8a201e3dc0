"""Finished evaluations side by side: paired differences, what flips, what may be luck, and the four tables."""

import csv
import io
import json
import math
from pathlib import Path

import numpy as np
import pytest

from adhere.evaluation.compare import compare_folders, sign_flip_p
from adhere.evaluation.compare_tables import csv_text, html_page, latex_table, markdown, write_comparison_files
from adhere.evaluation.generation import Generation, Sampling
from adhere.evaluation.run import evaluate, write_results
from adhere.evaluation.statistics import Bootstrap
from adhere.evaluation.suites import prompt_suite
from adhere.prompts.item import PromptItem
from adhere.rewards.errors import ConfigError, DataError

FAST = Bootstrap(resamples=200)


class Right:
    """Right on the first ``count`` prompts."""

    def __init__(self, name: str, count: int) -> None:
        self.name, self.count = name, count

    def generate(self, items, sampling):
        return [[Generation(f"\\boxed{{{4 if int(i.id) < self.count else 5}}}", 3, True)] for i in items]


def measured(folder: Path, name: str, count: int, suite: str = "toy", prompts: int = 20, text: str = "{}?") -> Path:
    items = [PromptItem(str(i), ({"role": "user", "content": text.format(i)},), "4") for i in range(prompts)]
    done = evaluate(prompt_suite(suite, items), Right(name, count), Sampling(), bootstrap=FAST)
    write_results(folder, done)
    return folder


def test_differences_are_paired_and_name_what_flipped(tmp_path):
    table = compare_folders([measured(tmp_path / "a", "a", 5), measured(tmp_path / "b", "b", 15)], FAST)
    (flip,) = [f for f in table.differences if f.metric == "accuracy"]
    assert (flip.first, flip.second, flip.mean, flip.prompts) == ("a", "b", 0.5, 20)
    assert flip.gained == tuple(sorted(str(i) for i in range(5, 15))) and flip.lost == ()
    assert flip.p == pytest.approx(2 / 2**10) and flip.verdict == "better"
    assert table.cells["b", "toy"]["mean"] == 0.75 and table.headlines == {"toy": "accuracy"}


def test_a_difference_of_one_prompt_may_be_luck(tmp_path):
    table = compare_folders([measured(tmp_path / "a", "a", 10), measured(tmp_path / "b", "b", 11)], FAST)
    assert table.differences[0].p == 1.0 and table.differences[0].verdict == "may be luck"


@pytest.mark.parametrize(
    ("gaps", "p"),
    [
        ([], 1.0),
        ([0.0, 0.0], 1.0),
        ([1.0] * 5, 2 / 2**5),
        ([1.0, 1.0, 1.0, -1.0], 2 * (1 + 4) / 2**4),
        ([0.5] * 4 + [0.0], 2 / 2**4),
    ],
)
def test_the_chance_of_luck_is_exact_where_it_can_be(gaps, p):
    assert sign_flip_p(np.array(gaps)) == pytest.approx(min(1.0, p))


def test_the_chance_of_luck_is_counted_where_sizes_differ():
    gaps = np.array([0.5, 1.0, 0.25])
    assert sign_flip_p(gaps) == pytest.approx(2 / 2**3, abs=0.01)
    assert not math.isclose(sign_flip_p(np.array([0.5, -1.0, 0.25])), 0.25, abs_tol=0.05)


def test_three_models_over_two_suites_in_folders_of_folders(tmp_path):
    for name, count in (("a", 4), ("b", 9), ("c", 16)):
        measured(tmp_path / name / "toy", name, count)
        if name != "c":
            measured(tmp_path / name / "other", name, count, suite="other")
    table = compare_folders([tmp_path / name for name in "abc"], FAST)
    assert table.models == ("a", "b", "c") and set(table.suites) == {"toy", "other"}
    pairs = {(f.suite, f.first, f.second) for f in table.differences}
    assert pairs == {("toy", "a", "b"), ("toy", "a", "c"), ("toy", "b", "c"), ("other", "a", "b")}
    assert "other: not measured on c" in table.notes
    assert all(f.p_holm >= f.p for f in table.differences)


def test_two_models_of_one_name_are_told_apart_by_their_folders(tmp_path):
    table = compare_folders([measured(tmp_path / "one", "m", 5), measured(tmp_path / "two", "m", 6)], FAST)
    assert table.models == ("one: m", "two: m")


def test_prompts_that_only_one_has_are_left_out_and_named(tmp_path):
    table = compare_folders(
        [measured(tmp_path / "a", "a", 5), measured(tmp_path / "b", "b", 5, prompts=25)], FAST
    )  # fmt: skip
    assert table.differences[0].prompts == 20 and "5 prompts are only in one" in table.notes[0]


def test_what_cannot_be_compared_says_why(tmp_path):
    one = measured(tmp_path / "a", "a", 5)
    with pytest.raises(ConfigError, match="two models or more"):
        compare_folders([one], FAST)
    with pytest.raises(ConfigError, match="named twice"):
        compare_folders([one, one], FAST)
    with pytest.raises(DataError, match="no such folder"):
        compare_folders([one, tmp_path / "none"], FAST)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"holds no results\.json"):
        compare_folders([one, tmp_path / "empty"], FAST)
    with pytest.raises(DataError, match="share a suite"):
        compare_folders([one, measured(tmp_path / "b", "b", 5, suite="other")], FAST)
    with pytest.raises(DataError, match="another text for the prompt '0'"):
        compare_folders([one, measured(tmp_path / "c", "c", 5, text="{}!")], FAST)
    other = measured(tmp_path / "d", "d", 5)
    results = json.loads((other / "results.json").read_text())
    (other / "results.json").write_text(json.dumps(results | {"mode": "compat"}))
    with pytest.raises(DataError, match="modes hardened and compat"):
        compare_folders([one, other], FAST)


def test_the_tables_escape_names_and_agree(tmp_path):
    table = compare_folders([measured(tmp_path / "a", "a|b_<i>&", 5), measured(tmp_path / "b", "plain", 15)], FAST)
    assert "| a\\|b_<i>& | 25.0 [" in markdown(table)
    assert r"a\textbar{}b\_<i>\& & 25.0 [" in latex_table(table) and latex_table(table).count(r"\begin{tabular}") == 2
    page = html_page(table)
    assert "a|b_&lt;i&gt;&amp;" in page and "<i>" not in page
    rows = list(csv.DictReader(io.StringIO(csv_text(table))))
    assert [float(r["mean"]) for r in rows if r["kind"] == "model"] == [0.25, 0.75]
    assert [float(r["mean"]) for r in rows if r["kind"] == "difference" and r["metric"] == "accuracy"] == [0.5]
    names = {path.name for path in write_comparison_files(tmp_path / "out", table)}
    assert names == {f"comparison.{suffix}" for suffix in ("md", "tex", "csv", "html", "json")}
    assert json.loads((tmp_path / "out/comparison.json").read_text())["models"] == ["a|b_<i>&", "plain"]
