"""Agreement of the constraint checkers with MathIF's official verdicts, and what hardening changes.

    python bench/constraint_agreement.py [mathif_verdicts.jsonl.gz]

Input: one row a response, ``{response, scored_text, constraints: [{id, kwargs, pass}]}`` with the official verdicts
(langdetect seeded with 0). The exit code is 1 if a compat verdict or a cut differs. No difference is kept on purpose.
"""

from __future__ import annotations

import gzip
import json
import sys
import time
from collections import Counter
from pathlib import Path

from adhere.rewards.constraints import check, official_cut

DEFAULT = Path(__file__).parents[1] / "../shared/oracle/mathif_verdicts.jsonl.gz"


def main(path: Path) -> int:
    """Print one line a constraint and every difference; return the exit code."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    table: Counter[tuple[str, bool, bool, bool]] = Counter()
    differences = []
    begun = time.perf_counter()
    for number, row in enumerate(rows, 1):
        if official_cut(row["response"]) != row["scored_text"]:
            differences.append(f"row {number}: the cut differs")
        for constraint in row["constraints"]:
            key, kwargs, official = constraint["id"], constraint["kwargs"], constraint["pass"]
            compat = check(key, row["scored_text"], kwargs, "compat")
            hardened = check(key, row["scored_text"], kwargs, "hardened")
            table[key, official, compat.passed, hardened.passed] += 1
            if compat.passed != official:
                differences.append(f"row {number}, {key} {kwargs}: official {official}, here {compat.detail}")
    seconds = time.perf_counter() - begun
    _print_table(table)
    checks = 2 * sum(table.values())
    print(f"\n{len(rows)} responses, {checks} checks in {seconds:.1f} s, {len(differences)} differences")
    print("\n".join(differences))
    return 1 if differences else 0


def _print_table(table: Counter[tuple[str, bool, bool, bool]]) -> None:
    print(f"{'constraint':46} {'n':>5} {'agree':>7} {'compat':>7} {'hardened':>8} {'now fail':>8} {'now pass':>8}")
    for key in sorted({entry[0] for entry in table}):
        mine = {entry[1:]: count for entry, count in table.items() if entry[0] == key}
        total = sum(mine.values())
        agree = sum(count for (official, compat, _), count in mine.items() if official == compat)
        passed = sum(count for (_, compat, _), count in mine.items() if compat)
        stricter = sum(count for (_, compat, hardened), count in mine.items() if compat and not hardened)
        milder = sum(count for (_, compat, hardened), count in mine.items() if hardened and not compat)
        print(
            f"{key:46} {total:5} {agree / total:7.2%} {passed / total:7.1%} "
            f"{(passed - stricter + milder) / total:8.1%} {stricter:8} {milder:8}"
        )


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT))
