"""Time of an evaluation against lm-evaluation-harness with transformers: the same prompts, the same greedy tokens.

    python -m venv lm-eval && lm-eval/bin/pip install 'lm-eval[hf,ifeval]'
    python bench/eval_speed.py MODEL lm-eval input_data.jsonl test.jsonl [--prompts 64] [--tokens 256] [--rounds 3]

The two files are IFEval's and GSM8K's own (``input_data.jsonl``, ``test.jsonl``), so that no network is needed; the
harness needs NLTK's ``punkt_tab`` (NLTK_DATA). Each side is a process of its own that loads the model, generates and
scores; rounds alternate, and the ratio is the median of the rounds' ratios. Then the verdicts: IFEval's, strict and
loose, instruction by instruction, and GSM8K's answers, ours and the harness's on the harness's responses.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
TASKS = {"ifeval": "train", "gsm8k": "test"}
ASKED = {"ifeval": "{prompt}", "gsm8k": "Question: {question}\nAnswer:"}
"""What the harness's tasks ask, as they are without examples."""

STOP = "Question:"
"""The harness ends an answer to GSM8K here."""


def main() -> int:
    """Run both sides, and print the ratio of their times and the agreement of their verdicts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("environment", type=Path)
    parser.add_argument("ifeval", type=Path)
    parser.add_argument("gsm8k", type=Path)
    parser.add_argument("--prompts", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--ours", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.ours is not None:
        ours(given)
        return 0

    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        tasks = write_tasks(given, work)
        environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
        theirs = [
            str(given.environment / "bin" / "lm_eval"), "--model", "hf",
            "--model_args", f"pretrained={given.model}", "--include_path", str(tasks),
            "--tasks", ",".join(f"{task}_file" for task in TASKS), "--limit", str(given.prompts),
            "--num_fewshot", "0", "--batch_size", str(given.batch), "--apply_chat_template", "--log_samples",
            "--output_path", str(work / "theirs"),
        ]  # fmt: skip
        mine = [sys.executable, __file__, *sys.argv[1:], "--ours", str(work / "ours.json")]
        ratios = []
        for number in range(1, given.rounds + 1):
            seconds = []
            for command, env in ((theirs, environment), (mine, {**os.environ, "PYTHONPATH": str(ROOT)})):
                started = time.perf_counter()
                done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
                if done.returncode != 0:
                    print(done.stdout[-2000:], done.stderr[-3000:], sep="\n")
                    return 1
                seconds.append(time.perf_counter() - started)
            ratios.append(seconds[1] / seconds[0])
            print(f"round {number}: harness {seconds[0]:.1f} s, adhere {seconds[1]:.1f} s, {ratios[-1]:.2f} times")
        print(f"median of the ratios: {statistics.median(ratios):.2f}")
        return agreement(given, work)


def write_tasks(given: argparse.Namespace, work: Path) -> Path:
    """Write the harness's two tasks with files in the place of the hub's data, and return their folder."""
    packages = next((given.environment / "lib").glob("python3*")) / "site-packages" / "lm_eval" / "tasks"
    folder = work / "tasks"
    folder.mkdir()
    for task, split in TASKS.items():
        file = str(getattr(given, task).resolve())
        data = {split: file} | ({"train": file} if task == "gsm8k" else {})
        (folder / f"{task}_file.yaml").write_text(
            f"include: {packages / task / f'{task}.yaml'}\ntask: {task}_file\ndataset_path: json\n"
            f"dataset_name: null\ndataset_kwargs: {json.dumps({'data_files': data})}\n"
            f"generation_kwargs: {{until: ['{STOP if task == 'gsm8k' else '<|im_end|>'}'], do_sample: false, "
            f"temperature: 0.0, max_gen_toks: {given.tokens}}}\n",
            encoding="utf-8",
        )
    return folder


def items_of(given: argparse.Namespace, task: str) -> list[Any]:
    """Return our suite's first items, asked in the harness's words."""
    from dataclasses import replace

    from adhere.evaluation.suites import SUITES, SuiteSource
    from adhere.prompts.item import Message

    items = SUITES[task].load(SuiteSource(getattr(given, task), limit=given.prompts)).items
    return [
        replace(
            item,
            messages=(Message(role="user", content=ASKED[task].format(prompt=item.question, question=item.question)),),
        )
        for item in items
    ]


def ours(given: argparse.Namespace) -> None:
    """Generate and score with our back end and suites; write the responses."""
    from adhere.evaluation.backends.transformers import TransformersGenerator
    from adhere.evaluation.generation import Sampling
    from adhere.evaluation.suites import SUITES

    generator = TransformersGenerator.load(given.model, batch_size=given.batch)
    written = {}
    for task in TASKS:
        items = items_of(given, task)
        drawn = generator.generate(items, Sampling(max_new_tokens=given.tokens))
        pairs = [(item, found[0]) for item, found in zip(items, drawn, strict=True)]
        SUITES[task].score(pairs, "compat")
        written[task] = [generation.text for _, generation in pairs]
    given.ours.write_text(json.dumps(written), encoding="utf-8")


def agreement(given: argparse.Namespace, work: Path) -> int:
    """Print how many responses are equal and where verdicts on the harness's differ; return the exit code."""
    from adhere.evaluation.generation import Generation
    from adhere.evaluation.suites import SUITES

    written = json.loads((work / "ours.json").read_text(encoding="utf-8"))
    differing = 0
    for task in TASKS:
        file = max((work / "theirs").rglob(f"samples_{task}_file_*.jsonl"))
        samples: dict[int, dict[str, Any]] = {}
        for line in file.read_text(encoding="utf-8").splitlines():
            sample = json.loads(line)
            samples.setdefault(sample["doc_id"], {}).update({f"{sample['filter']}/{k}": v for k, v in sample.items()})
        rows = [samples[number] for number in sorted(samples)]
        name = next(key.partition("/")[0] for key in rows[0] if key.endswith("/resps"))
        texts = [row[f"{name}/resps"][0][0] for row in rows]
        cut = [text.partition(STOP)[0] if task == "gsm8k" else text for text in written[task]]
        equal = sum(one.strip() == other.strip() for one, other in zip(texts, cut, strict=True))
        print(f"{task}: {equal} of {len(texts)} greedy responses are equal")
        scores = SUITES[task].score(
            [(item, Generation(text, None, True)) for item, text in zip(items_of(given, task), texts, strict=True)],
            "compat",
        )
        if task == "ifeval":
            for way in ("strict", "loose"):
                found = [list(map(bool, score.measures[f"instruction_{way}"])) for score in scores]
                said = [list(map(bool, row[f"{name}/inst_level_{way}_acc"])) for row in rows]
                off = [row[f"{name}/doc"]["key"] for row, a, b in zip(rows, found, said, strict=True) if a != b]
                differing += len(off)
                print(f"ifeval {way}: {len(off)} of {len(rows)} prompts differ {off or ''}")
        else:
            said_right = [bool(row["flexible-extract/exact_match"]) for row in rows]
            off = [i for i, (s, b) in enumerate(zip(scores, said_right, strict=True)) if s.correct.passed != b]
            print(f"gsm8k: {len(off)} of {len(rows)} answers differ from flexible-extract {off or ''}")
    print(f"lm-eval in {given.environment}, transformers {importlib.metadata.version('transformers')}")
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
