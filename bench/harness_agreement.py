"""Verdicts of IFEval, GSM8K and MATH-500 beside lm-evaluation-harness's, on the same responses.

    python -m venv lm-eval && lm-eval/bin/pip install 'lm-eval[ifeval]'
    NLTK_DATA=FOLDER python bench/harness_agreement.py lm-eval DATA [--rows 1000000]

DATA is a folder with ``ifeval/input_data.jsonl``, ``gsm8k/test.jsonl``, ``math500/test.jsonl`` as they are published,
and ``ifeval_gpt4_verdicts.jsonl.gz`` with responses to IFEval. To GSM8K and MATH-500 the responses are the gold
solution or answer of each row, and the answer of the row after it, which is wrong where it differs. The harness
decides in its own environment: IFEval's instructions, GSM8K by what stands behind ####, MATH by its string
comparison. Exit code 1: IFEval differs.
"""

from __future__ import annotations

import argparse
import gzip
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from adhere.evaluation.generation import Generation
from adhere.evaluation.suites import SUITES, SuiteSource

PEER = """
import json, sys
from lm_eval.tasks.ifeval.utils import process_results
from lm_eval.tasks.hendrycks_math.utils import is_equiv
asked = json.load(open(sys.argv[1]))
said = {"ifeval": [], "math500": []}
for doc, response in asked["ifeval"]:
    found = process_results(doc, [response])
    said["ifeval"].append([list(map(bool, found[f"inst_level_{way}_acc"])) for way in ("strict", "loose")])
for gold, answer in asked["math500"]:
    said["math500"].append(bool(is_equiv(answer, gold)))
json.dump(said, open(sys.argv[2], "w"))
"""


def main() -> int:
    """Ask both, and print how many verdicts differ."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("environment", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--rows", type=int, default=1_000_000)
    given = parser.parse_args()

    def read(name: str) -> list[dict[str, Any]]:
        lines = (given.data / name).read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines if line.strip()]

    docs = {str(row["key"]): row for row in read("ifeval/input_data.jsonl")}
    with gzip.open(given.data / "ifeval_gpt4_verdicts.jsonl.gz", "rt", encoding="utf-8") as lines:
        responses = {str(row["key"]): row["response"] for row in map(json.loads, lines)}
    responses = dict(list(responses.items())[: given.rows])
    sums, maths = read("gsm8k/test.jsonl")[: given.rows], read("math500/test.jsonl")[: given.rows]
    golds = [str(row["answer"]) for row in maths]
    pairs = [(gold, answer) for i, gold in enumerate(golds) for answer in (gold, golds[(i + 1) % len(golds)])]
    with tempfile.TemporaryDirectory() as name:
        asked, said = Path(name) / "asked.json", Path(name) / "said.json"
        told = [
            [
                {
                    **docs[key],
                    "kwargs": [{k: v for k, v in one.items() if v is not None} for one in docs[key]["kwargs"]],
                },
                text,
            ]
            for key, text in responses.items()
        ]
        asked.write_text(json.dumps({"ifeval": told, "math500": pairs}), encoding="utf-8")
        subprocess.run([str(given.environment / "bin" / "python"), "-c", PEER, str(asked), str(said)], check=True)
        theirs = json.loads(said.read_text(encoding="utf-8"))

    suite = SUITES["ifeval"].load(SuiteSource(given.data / "ifeval/input_data.jsonl"))
    items = {item.id: item for item in suite.items}
    scores = suite.kind.score([(items[k], Generation(t, None, True)) for k, t in responses.items()], "compat")
    ours = [[list(map(bool, s.measures[f"instruction_{way}"])) for way in ("strict", "loose")] for s in scores]
    off = sum(
        a != b for mine, peer in zip(ours, theirs["ifeval"], strict=True) for a, b in zip(mine, peer, strict=True)
    )
    count = sum(len(way) for mine in ours for way in mine)
    print(f"ifeval: {count} verdicts on {len(responses)} responses, {off} prompts differ")

    suite = SUITES["gsm8k"].load(SuiteSource(given.data / "gsm8k/test.jsonl", limit=given.rows))
    texts = [[row["answer"], sums[(i + 1) % len(sums)]["answer"]] for i, row in enumerate(sums)]
    behind = [[text.rpartition("####")[2].strip().replace(",", "") for text in two] for two in texts]
    asked_of = [(item, text) for item, two in zip(suite.items, texts, strict=True) for text in two]
    found = suite.kind.score([(item, Generation(text, None, True)) for item, text in asked_of], "hardened")
    right = [answer == two[0] for two in behind for answer in two]
    off_sums = sum(score.correct.passed != peer for score, peer in zip(found, right, strict=True))
    print(f"gsm8k: {len(found)} responses, {off_sums} differ")

    suite = SUITES["math500"].load(SuiteSource(given.data / "math500/test.jsonl", limit=given.rows))
    boxed = [
        (suite.items[i // 2], Generation(f"\\boxed{{{answer}}}", None, True)) for i, (_, answer) in enumerate(pairs)
    ]
    found = suite.kind.score(boxed, "hardened")
    differ = [
        f"{answer!r} for {gold!r}"
        for score, peer, (gold, answer) in zip(found, theirs["math500"], pairs, strict=True)
        if score.correct.passed != peer
    ]
    print(f"math500: {len(found)} responses, {len(differ)} differ", *differ, sep="\n  ")
    return 1 if off else 0


if __name__ == "__main__":
    sys.exit(main())
