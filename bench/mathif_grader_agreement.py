"""Agreement of ``accuracy_official`` with MathIF's judgement of answers, as ``verl`` packages the same code.

    python3.11 -m venv peer && peer/bin/pip install verl sympy pylatexenc
    PYTHONPATH=. peer/bin/python bench/mathif_grader_agreement.py [math_cases.jsonl.gz]

Input: rows ``{gold, response}``. Leave antlr4 out: MathIF's requirements do not have it, so its parser of LaTeX never
runs. That code evaluates the responses' text: use rows that you trust. The exit code is 1 below 99.5 %.
"""

from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path

try:
    from verl.utils.reward_score.prime_math import compute_score
except ModuleNotFoundError as error:
    print(f"skipped: {error.name} is not installed; the commands are in this file's first lines")
    sys.exit(0)

from adhere.evaluation.mathif_grader import official_correct

DEFAULT = Path(__file__).parents[1] / "../shared/oracle/math_cases.jsonl.gz"


def main(path: Path) -> int:
    """Print the share that agrees and every difference; return the exit code."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    wrong = 0
    for row in rows:
        theirs = bool(compute_score(row["response"], row["gold"])[0])
        if official_correct(row["response"], row["gold"]) is not theirs:
            wrong += 1
            print(f"official {theirs}: gold {row['gold']!r}, response {row['response'][-120:]!r}")
    print(f"{len(rows) - wrong} of {len(rows)} agree, {1 - wrong / len(rows):.2%}")
    return 1 if wrong > 0.005 * len(rows) else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT))
