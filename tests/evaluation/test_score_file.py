"""`adhere score`: a file of responses in, the same rows with verdicts out."""

import gzip
import json
from pathlib import Path

import pytest

from adhere.evaluation.score_file import score_file
from adhere.rewards.errors import ConfigError, ConstraintError, DataError

ORACLE = Path(__file__).parents[2] / "../shared/oracle/mathif_verdicts.jsonl.gz"
NO_COMMA = {"id": "punctuation:no_comma", "kwargs": None}
EXISTS = {"id": "keywords:existence", "kwargs": {"keywords": ["answer"]}}
LOWER = {"id": "change_case:english_lowercase", "kwargs": {}}


def row(response: str, answer: object = "4", constraints: list | None = None) -> dict:
    return {"question": "2+2?", "answer": answer, "response": response, "constraints": constraints or []}


def write(path: Path, rows: list) -> Path:
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "wt", encoding="utf-8") as out:
        out.writelines((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in rows)
    return path


def read(path: Path) -> list[dict]:
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


@pytest.mark.parametrize(("src", "dst"), [("in.jsonl", "out.jsonl"), ("in.jsonl.gz", "new/out.jsonl.gz")])
def test_rows_come_back_with_verdicts_in_the_order_of_their_constraints(tmp_path, src, dst):
    text = "the sum of two and two is four so the answer is \\boxed{4}"
    source = write(tmp_path / src, [row(text, constraints=[LOWER, NO_COMMA]) | {"extra": 1}])
    summary = score_file(source, tmp_path / dst)
    (scored,) = read(tmp_path / dst)
    assert scored["extra"] == 1 and scored["response"] == text
    assert [v["id"] for v in scored["verdicts"]] == [LOWER["id"], NO_COMMA["id"]]
    assert set(scored["verdicts"][0]) == {"id", "score", "status", "detail"}
    assert scored["correct"]["score"] == 1.0 and scored["correct"]["status"] == "ok"
    assert (scored["hacc"], scored["sacc"], scored["joint"]) == (1.0, 1.0, 1.0)
    assert (summary["rows"], summary["joint"]) == (1, 1.0)
    assert not list(tmp_path.rglob(".*"))


def test_half_met_constraints_and_a_wrong_answer(tmp_path):
    text = "The answer, then, is \\boxed{4}"
    rows = [
        row(text, answer="5", constraints=[EXISTS]),
        row(text, constraints=[NO_COMMA, {"id": "startend:quotation"}]),
        row(text, constraints=[NO_COMMA, EXISTS]),
    ]
    score_file(write(tmp_path / "in.jsonl", rows), tmp_path / "out.jsonl")
    wrong, none, half = read(tmp_path / "out.jsonl")
    assert (wrong["correct"]["score"], wrong["hacc"], wrong["joint"]) == (0.0, 1.0, 0.0)
    assert (none["hacc"], none["sacc"], none["joint"]) == (0.0, 0.0, 0.0)
    assert (half["correct"]["score"], half["hacc"], half["sacc"], half["joint"]) == (1.0, 0.0, 0.5, 0.0)


def test_half_a_character_in_a_response_is_scored_and_written_escaped(tmp_path):
    text = "a \ud800 \\ud800 \\boxed{4}"
    rows = [row(text, constraints=[LOWER, NO_COMMA, EXISTS]) | {"extra\udc00": "\udfff"}]
    score_file(write(tmp_path / "in.jsonl", rows), tmp_path / "out.jsonl")
    (scored,) = read(tmp_path / "out.jsonl")
    assert scored["response"] == text and scored["extra\udc00"] == "\udfff" and scored["correct"]["score"] == 1.0


@pytest.mark.parametrize("value", [float("nan"), {"deep": [float("-inf")]}])
def test_a_value_that_is_not_json_is_named_before_anything_is_scored(tmp_path, value):
    source = write(tmp_path / "in.jsonl", [row("\\boxed{4}"), row("\\boxed{4}") | {"logprob": value}])
    with pytest.raises(DataError, match=r"in\.jsonl:2: logprob cannot be written as JSON .*mend or remove the value"):
        score_file(source, tmp_path / "out.jsonl")
    assert not list(tmp_path.glob("out*"))


def test_nothing_to_score_is_null_and_never_zero(tmp_path):
    rows = [row("\\boxed{4}"), row("fine", answer=None, constraints=[NO_COMMA])]
    summary = score_file(write(tmp_path / "in.jsonl", rows), tmp_path / "out.jsonl")
    bare, unanswered = read(tmp_path / "out.jsonl")
    assert bare["correct"]["score"] == 1.0
    assert (bare["verdicts"], bare["hacc"], bare["sacc"], bare["joint"]) == ([], None, None, None)
    assert unanswered["correct"] == {
        "score": None,
        "status": "not_applicable",
        "detail": unanswered["correct"]["detail"],
    }
    assert (unanswered["hacc"], unanswered["joint"]) == (1.0, None)
    assert summary["unscored"] == {"accuracy": 1, "hacc": 1, "sacc": 1, "joint": 2}
    assert summary["accuracy"] == 1.0


def test_modes_cut_the_response_differently(tmp_path):
    unfinished = row("<think>so it is \\boxed{4}", constraints=[NO_COMMA])
    source = write(tmp_path / "in.jsonl", [unfinished])
    score_file(source, tmp_path / "hard.jsonl", "hardened")
    score_file(source, tmp_path / "compat.jsonl", "compat")
    (hard,), (compat,) = read(tmp_path / "hard.jsonl"), read(tmp_path / "compat.jsonl")
    assert (hard["correct"]["score"], hard["hacc"]) == (0.0, 0.0)
    assert "unfinished reasoning" in hard["correct"]["detail"]
    assert (compat["correct"]["score"], compat["hacc"]) == (1.0, 1.0)


def test_of_a_row_without_constraints_only_the_answer_is_scored(tmp_path):
    rows = [{"response": "\\boxed{4}", "answer": "4"}, {"response": "\\boxed{5}", "answer": 4, "constraints": None}]
    summary = score_file(write(tmp_path / "in.jsonl", rows), tmp_path / "out.jsonl")
    right, wrong = read(tmp_path / "out.jsonl")
    assert (right["correct"]["score"], wrong["correct"]["score"]) == (1.0, 0.0)
    assert right["verdicts"] == [] and right["hacc"] is None and right["joint"] is None
    assert (summary["accuracy"], summary["hacc"], summary["unscored"]["hacc"]) == (0.5, None, 2)


@pytest.mark.parametrize(
    ("flag", "default", "scored"), [(True, False, 0.0), (None, True, 0.0), (False, True, 1.0), (None, False, 1.0)]
)
def test_a_prefilled_response_is_reasoning_until_its_block_ends(tmp_path, flag, default, scored):
    rows = [row("so it is \\boxed{4}") | ({} if flag is None else {"prefilled": flag})]
    rows.append(row("first \\boxed{3} </think> it is \\boxed{4}") | {"prefilled": True})
    score_file(write(tmp_path / "in.jsonl", rows), tmp_path / "out.jsonl", prefilled=default)
    open_block, closed = read(tmp_path / "out.jsonl")
    assert open_block["correct"]["score"] == scored and closed["correct"]["score"] == 1.0


def test_compat_tells_mathif_s_own_judgement_of_the_answer(tmp_path):
    rows = [
        row("\\boxed{400}", constraints=[NO_COMMA]),
        row("#### 4", constraints=[NO_COMMA]),
        row("It comes to \\boxed{4}, so", constraints=[NO_COMMA]),
        row("4", answer=None, constraints=[NO_COMMA]),
    ]
    source = write(tmp_path / "in.jsonl", rows)
    summary = score_file(source, tmp_path / "out.jsonl", "compat")
    scored = read(tmp_path / "out.jsonl")
    assert [r["correct"]["score"] for r in scored] == [0.0, 1.0, 1.0, None]
    assert [r["correct_official"] for r in scored] == [1.0, 0.0, 1.0, None]
    assert [r["joint_official"] for r in scored] == [1.0, 0.0, 0.0, None]
    assert summary["accuracy_official"] == pytest.approx(2 / 3) and summary["unscored"]["accuracy_official"] == 1
    assert "accuracy_official" not in score_file(source, tmp_path / "hard.jsonl")


@pytest.mark.parametrize(
    ("extra", "cut"),
    [
        ({"answer": "4"}, True),
        ({"answer": None, "source": "gsm8k"}, True),
        ({"answer": None}, False),
        ({"answer": None, "source": "google/IFEval"}, False),
        ({"answer": "4", "constraints": [NO_COMMA, {"id": "detectable_format:title"}]}, False),
    ],
)
def test_compat_cuts_mathif_s_rows_and_leaves_ifeval_s_whole(tmp_path, extra, cut):
    text = "<think>one, two</think><answer>four</answer>"
    score_file(
        write(tmp_path / "in.jsonl", [row(text, constraints=[NO_COMMA]) | extra]), tmp_path / "o.jsonl", "compat"
    )
    assert read(tmp_path / "o.jsonl")[0]["verdicts"][0]["score"] == float(cut)


@pytest.mark.parametrize(
    ("bad", "error", "says"),
    [
        ("{not json", DataError, "not JSON"),
        ("[1]", DataError, "object"),
        ({"response": "x"}, DataError, "has neither an answer nor constraints"),
        ({"response": "x", "answer": None, "constraints": None}, DataError, "nothing to score"),
        ({"response": "x", "answer": "1", "constraints": {}}, DataError, "constraints is dict"),
        ({"response": "x", "answer": "1", "prefilled": "yes"}, DataError, "prefilled is str"),
        ({"response": "x", "answer": "1", "source": 3}, DataError, "source is int"),
        ({"constraints": []}, DataError, "response is missing"),
        (row("x") | {"response": None}, DataError, "response is NoneType"),
        (row("x", answer=["4"]), DataError, "answer is list"),
        (row("x", constraints=["punctuation:no_comma"]), DataError, "constraints[0]"),
        (row("x", constraints=[{"id": "punctuation:no_comma", "kwargs": 3}]), DataError, "kwargs"),
        (row("x", constraints=[{"id": "punctuation:no_coma"}]), ConstraintError, "punctuation:no_comma"),
    ],
)
def test_a_malformed_row_names_file_and_line_and_writes_nothing(tmp_path, bad, error, says):
    source = write(tmp_path / "in.jsonl", [row("ok"), bad])
    with pytest.raises(error) as caught:
        score_file(source, tmp_path / "out.jsonl")
    assert f"{source}:2" in str(caught.value) and says in str(caught.value)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.jsonl"]


def test_missing_empty_and_self_overwriting_files_are_refused(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        score_file(tmp_path / "none.jsonl", tmp_path / "out.jsonl")
    empty = write(tmp_path / "in.jsonl", [])
    with pytest.raises(DataError, match="holds no row"):
        score_file(empty, tmp_path / "out.jsonl")
    with pytest.raises(ConfigError, match="input itself"):
        score_file(empty, empty)
    with pytest.raises(ConfigError, match="strict"):
        score_file(empty, tmp_path / "out.jsonl", "strict")
    damaged = tmp_path / "in.jsonl.gz"
    damaged.write_bytes(gzip.compress(json.dumps(row("x")).encode() * 50)[:-20])
    with pytest.raises(DataError, match="gzip"):
        score_file(damaged, tmp_path / "out.jsonl")


@pytest.mark.slow
def test_compat_agrees_with_every_official_verdict(tmp_path):
    if not ORACLE.is_file():
        pytest.skip("needs the official MathIF verdicts in ../shared/oracle")
    score_file(ORACLE, tmp_path / "out.jsonl.gz", "compat")
    disagreeing = [
        (constraint, verdict)
        for scored in read(tmp_path / "out.jsonl.gz")
        for constraint, verdict in zip(scored["constraints"], scored["verdicts"], strict=True)
        if verdict["score"] != float(constraint["pass"])
    ]
    assert disagreeing == []
