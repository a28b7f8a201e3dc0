"""Fingerprints of MathIF's and IFEval's questions, by which training items are kept clear of them.

    python bench/mathif_fingerprints.py MATHIF > prompts/mathif_questions.txt
    python bench/mathif_fingerprints.py IFEVAL > prompts/ifeval_questions.txt

MATHIF is a folder with the benchmark's JSONL files. A fingerprint is a hash: the file holds no question. The one that
ships was made of the GSM8K and MATH-500 parts (180 of the 420 questions); the other parts were not at hand.
"""

from __future__ import annotations

import sys
from pathlib import Path

from adhere.prompts.decontaminate import question_fingerprint, read_questions


def main(folder: Path) -> None:
    """Print one fingerprint a line, sorted."""
    found = {question_fingerprint(q) for file in sorted(folder.glob("*.jsonl")) for q in read_questions(file)}
    print("\n".join(sorted(found)))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
