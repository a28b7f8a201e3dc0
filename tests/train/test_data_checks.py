"""What is checked before anything starts: data, lengths, devices, packages; in `plan`, and in `train` as an error."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import pytest
from tiny_run import ONE_ARM, SMALL

from adhere.records.artifact import artifacts_below
from adhere.train.cli import main
from adhere.train.config.compose import compose_recipe
from adhere.train.config.kinds import kind_of
from adhere.train.run.inputs import FIRST_ROWS
from adhere.train.run.inputs import SMALL as SMALL_FILE

ROW = {"question": "What is 2 + 2?", "answer": "4", "solution": "2 + 2 = 4"}
ITEM = {
    "messages": [{"role": "user", "content": "What is 3 + 3? Use no commas."}],
    "answer": "6",
    "checklist": [
        {"id": "c", "text": "Use no commas.", "check": {"type": "rule", "constraint": "punctuation:no_comma"}},
    ],
}
UNKNOWN = json.dumps(ITEM).replace("no_comma", "no_coma")
GOOD = "".join(json.dumps(ROW | {"question": f"What is {i} + 0?", "answer": str(i)}) + "\n" for i in range(1, 13))

BAD = {
    "an empty file": ("", "rows.jsonl: holds no rows"),
    "blank lines only": ("\n\n", "rows.jsonl: holds no rows"),
    "half of a line": (GOOD + '{"question": \n', "rows.jsonl:13: not JSON"),
    "a list in place of a row": (GOOD + "[1]\n", "rows.jsonl:13: a list, not an object"),
    "a row without a question": (GOOD + '{"answer": "4"}\n', "rows.jsonl:13: no column for the question"),
    "an empty question": (GOOD + '{"question": " ", "answer": "4"}\n', "rows.jsonl:13: column 'question' is empty"),
    "an unknown constraint": (GOOD + UNKNOWN + "\n", "no_coma"),
    "a message without content": (GOOD + '{"messages": [{"role": "user"}]}\n', "rows.jsonl:13: messages[0] needs role"),
}


def given(data: Path, root: Path, *more: str, role: str = "train", stages: str = "[grpo]") -> list[str]:
    sources = {"train": "data.train", "evaluation": "data.evaluation"}[role]
    sizes = ["data.train_size=null", "data.evaluation_size=null"]
    return [*SMALL, *ONE_ARM, f"stages={stages}", f"run.root={root}", f"{sources}=[{{path: {data}}}]", *sizes, *more]


@pytest.mark.parametrize("content, message", BAD.values(), ids=BAD)
@pytest.mark.parametrize("role, stages", [("train", "[grpo]"), ("evaluation", "[evaluate]")])
def test_a_file_that_cannot_be_used_is_named_before_anything_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str, message: str, role: str, stages: str
) -> None:
    data = tmp_path / "rows.jsonl"
    data.write_text(content, encoding="utf-8")
    words = given(data, tmp_path / "runs", "data.train_size=8" if role == "evaluation" else "seed=0",
                  role=role, stages=stages)  # fmt: skip
    assert main(["plan", *words]) == 1
    label = "grpo" if role == "train" else "evaluate[base]"
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("error: ")]
    assert line.startswith(f"error: {label}: ") and message in line
    assert main(["train", *words]) == 1
    assert f"adhere train: {label}: " in (said := capsys.readouterr().err) and message in said
    assert not artifacts_below(tmp_path / "runs").exists()


def test_whole_files_are_fine_and_a_row_that_is_left_out_by_skip_is_not_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "rows.jsonl"
    data.write_text('{"question": 3}\n'.replace("3", "[]") + GOOD, encoding="utf-8")
    words = given(data, tmp_path / "runs")
    assert main(["plan", *words]) == 1
    words = [word.replace("rows.jsonl}", "rows.jsonl, skip: 1}") for word in words]
    capsys.readouterr()
    assert main(["plan", *words]) == 0
    assert "error: " not in capsys.readouterr().out


def test_of_a_large_file_the_first_rows_are_read_and_all_with_check(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "rows.jsonl"
    rows = [json.dumps({"question": f"What is {i} + 0? " + "x" * 90_000, "answer": str(i)}) for i in range(110)]
    rows[FIRST_ROWS + 20] = "{"
    data.write_text("\n".join(rows), encoding="utf-8")
    assert data.stat().st_size > SMALL_FILE
    words = given(data, tmp_path / "runs")
    assert main(["plan", *words]) == 0
    assert main(["plan", *words, "--check"]) == 1
    assert f"error: grpo: {data}:{FIRST_ROWS + 21}: not JSON" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("rows", "size", "fits"), [(2, "null", True), (1, "null", False), (12, "1", False), (12, "2", True)]
)
def test_fewer_items_than_a_step_takes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], rows: int, size: str, fits: bool
) -> None:
    data = tmp_path / "rows.jsonl"
    data.write_text("".join(GOOD.splitlines(keepends=True)[:rows]), encoding="utf-8")
    assert main(["plan", *given(data, tmp_path / "runs", f"data.train_size={size}")]) == (0 if fits else 1)
    text = "error: grpo: grpo.per_device_batch_size: a step takes 2 prompts, but there are 1 training items"
    assert (text in capsys.readouterr().out) is not fits


@pytest.mark.parametrize(
    ("solution", "more", "message"),
    [
        ("It is {i}.", [], None),
        ("It is {i}.", ["grpo.imitation.weight=1"], None),
        (None, [], None),
        (None, ["grpo.imitation.weight=1"], "an SFT target from (columns.solution"),
        ("It is {i}. " * 60, [], None),
        ("It is {i}. " * 60, ["grpo.imitation.weight=1"], "grpo.imitation.weight: the longest prompt and target are "),
        ("It is {i}. " * 60, ["grpo.imitation.weight=1", "model.context=4096"], None),
    ],
)
def test_check_builds_the_targets_that_grpo_imitates(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], solution: str | None, more: list[str], message: str | None
) -> None:
    data = tmp_path / "rows.jsonl"
    rows = [{"question": f"What is {i} + 0?", "answer": str(i)} for i in range(1, 13)]
    rows = [row if solution is None else row | {"solution": solution.format(i=row["answer"])} for row in rows]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    lengths = ["grpo.max_completion_length=16", "evaluation.sampling.max_new_tokens=16", "data.max_prompt_tokens=null"]
    context = [] if any("context" in word for word in more) else ["model.context=256"]
    words = given(data, tmp_path / "runs", *lengths, "data.decontaminate=false", *context, *more)
    assert main(["plan", *words, "--check"]) == (0 if message is None else 1)
    assert message is None or message in capsys.readouterr().out


@pytest.mark.slow
def test_check_counts_what_is_too_long_and_drop_leaves_it_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    long = json.dumps(ROW | {"question": "What is 1 + 1? " * 30})
    data = tmp_path / "rows.jsonl"
    data.write_text(GOOD + long + "\n", encoding="utf-8")
    words = given(
        data,
        tmp_path / "runs",
        "sft.max_length=128",
        "data.decontaminate=false",
        "data.max_prompt_tokens=null",
        stages="[sft]",
    )
    assert main(["plan", *words]) == 0, "without the tokenizer nobody knows"
    assert main(["plan", *words, "--check"]) == 1
    out = capsys.readouterr().out
    assert "data     sft: 13 items, prompts of up to " in out and "; 1 are longer than sft.max_length 128" in out
    assert "error: sft: rows/13: prompt and target are " in out and "sft.too_long=drop" in out
    assert main(["plan", *words, "sft.too_long=drop", "--check"]) == 0
    assert main(["train", *words, "sft.too_long=drop", "sft.max_steps=1"]) == 0
    (made,) = artifacts_below(tmp_path / "runs").glob("sft-*")
    manifest = json.loads((made / "manifest.json").read_text())
    assert (manifest["items"], manifest["too_long"]) == (12, 1)
    assert "left out 1 of 13 items" in (made / "logs" / "attempt_0.log").read_text()
    capsys.readouterr()
    assert main(["train", *words, "sft.too_long=drop", "sft.max_length=8", "sft.max_steps=1"]) == 1
    assert "each of the 13 items is longer than 8 tokens" in capsys.readouterr().err


def test_what_becomes_of_long_rows_is_part_of_the_key_only_where_it_changes_what_is_made() -> None:
    error, drop = (compose_recipe(["recipe=quickstart", f"sft.too_long={word}"]) for word in ("error", "drop"))
    assert "too_long" not in kind_of("sft").settings(error)["sft"]
    assert kind_of("sft").settings(drop)["sft"]["too_long"] == "drop"


def test_ranks_on_a_cpu_default_to_one() -> None:
    def ranks(*overrides: str) -> int:
        return compose_recipe(["recipe=quickstart", *overrides]).launcher.processes

    for strategy, on_gpus in {"ddp": 2, "zero2": 8, "zero3": 8, "zero2_offload": 8, "zero3_offload": 8}.items():
        assert ranks(f"strategy={strategy}", "launcher.device=cpu") == 1
        assert ranks(f"strategy={strategy}", "launcher.device=cuda") == ranks(f"strategy={strategy}") == on_gpus
        assert ranks(f"strategy={strategy}", "launcher.device=cpu", "launcher.processes=3") == 3


@pytest.mark.parametrize("visible", [None, "", "-1"])
def test_a_gpu_that_is_not_there_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], visible: str | None
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))  # no nvidia-smi here
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    words = [*SMALL, *ONE_ARM, "stages=[sft]", f"run.root={tmp_path / 'runs'}", "launcher.device=cuda"]
    assert main(["train", *words]) == 2
    assert "launcher.device: cuda, but this machine shows no GPU" in capsys.readouterr().err
    assert not artifacts_below(tmp_path / "runs").exists()


@pytest.mark.slow
def test_a_gpu_that_torch_cannot_use_is_an_error_of_the_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("a GPU works here")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    words = [*SMALL, *ONE_ARM, "stages=[evaluate]", f"run.root={tmp_path / 'runs'}", "launcher.device=cuda"]
    assert main(["train", *words]) == 1
    assert "launcher.device: cuda, but torch cannot use a GPU (" in capsys.readouterr().err


@pytest.mark.skipif(bool(find_spec("vllm") or find_spec("bitsandbytes")), reason="vLLM or bitsandbytes is installed")
def test_every_package_that_any_stage_lacks_is_named_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*SMALL, *ONE_ARM, f"run.root={tmp_path / 'runs'}", "grpo.generation=vllm_colocate"]
    assert main(["train", *words, "evaluation.backend=vllm", "model.adapter.kind=qlora"]) == 2
    said = capsys.readouterr().err
    for key in ("grpo.generation: vllm_colocate needs vllm", "evaluation.backend: vllm needs vllm",
                "model.adapter.kind: qlora needs bitsandbytes"):  # fmt: skip
        assert key in said
    assert not artifacts_below(tmp_path / "runs").exists()
