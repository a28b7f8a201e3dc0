"""Agreement of ``compat`` with IFEval's checkers (as ``if-verifiable`` packages them) on texts made to trip them.

    python3.11 -m venv peer
    peer/bin/pip install --no-deps if-verifiable==0.1.2
    peer/bin/pip install datasets nltk langdetect immutabledict emoji syllapy
    PYTHONPATH=. peer/bin/python bench/ifeval_agreement.py [--texts 30000] [--rows ifeval_gpt4_verdicts.jsonl.gz]

Prints one line a constraint, and the number of sentences of the rows' responses against NLTK's Punkt, as they are and
with closing quotes and marks put in, where its data ``punkt_tab`` can be found. Left out: what asks for a
language (langdetect, unseeded there) and for words in capitals (NLTK's models). The exit code is 1 if one differs.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import sys
from pathlib import Path
from typing import Any

try:
    from if_verifiable.ifeval.instructions_registry import INSTRUCTION_DICT
    from nltk.tokenize.punkt import PunktTokenizer
except ModuleNotFoundError as error:
    print(f"skipped: {error.name} is not installed; the commands are in this file's first lines")
    sys.exit(0)

from adhere.rewards.constraints import check
from adhere.rewards.constraints.text.punkt import sentence_count

DEFAULT = Path(__file__).parents[1] / "../shared/oracle/ifeval_gpt4_verdicts.jsonl.gz"

ARGUMENTS: dict[str, list[dict[str, Any]]] = {
    "keywords:letter_frequency": [
        {"letter": "e", "let_frequency": 2, "let_relation": relation} for relation in ("at least", "less than")
    ],
    "keywords:existence": [{"keywords": ["ae", "p.s"]}],
    "keywords:forbidden_words": [{"forbidden_words": ["ae", "e"]}],
    "keywords:frequency": [{"keyword": "ae", "frequency": 2, "relation": "at least"}],
    "length_constraints:number_words": [{"num_words": 3, "relation": "less than"}],
    "length_constraints:number_paragraphs": [{"num_paragraphs": n} for n in (1, 2)],
    "length_constraints:nth_paragraph_first_word": [
        {"num_paragraphs": 2, "nth_paragraph": n, "first_word": word} for n in (1, 2) for word in ("a", "ae")
    ],
    "combination:two_responses": [{}],
    "combination:repeat_prompt": [{"prompt_to_repeat": "A e"}],
    "detectable_content:number_placeholders": [{"num_placeholders": n} for n in (1, 2)],
    "detectable_content:postscript": [{"postscript_marker": marker} for marker in ("P.S.", "P.P.S", "N.B.")],
    "detectable_format:title": [{}],
    "detectable_format:json_format": [{}],
    "detectable_format:constrained_response": [{}],
    "detectable_format:multiple_sections": [{"section_spliter": "Se", "num_sections": 2}],
    "detectable_format:number_highlighted_sections": [{"num_highlights": n} for n in (1, 2)],
    "detectable_format:number_bullet_lists": [{"num_bullets": n} for n in (1, 2)],
    "startend:end_checker": [{"end_phrase": "a e."}],
    "startend:quotation": [{}],
    "punctuation:no_comma": [{}],
}
PIECES = [
    *("a", "e", "A", "E", "é", "ſ", "İ", " ", "\n", "\n\n", "*", "**", "***", "******", "[", "]", "<", ">", "<<", ">>"),
    *("p.", "s.", "P.S.", "P. P. S", "n.b.", '"', "'", ",", ".", "{", "}", '{"a":1}', "```", "```json", "1", "Se"),
    *("Se 1", "-", "\t", "\r", "\u2028", "\x0b", "NaN", "My answer is yes."),
]


def differences(texts: list[str]) -> int:
    """Print one line a constraint and the first text that differs; return how many differ."""
    total = 0
    for key, choices in ARGUMENTS.items():
        wrong = []
        for kwargs in choices:
            peer = INSTRUCTION_DICT[key](key)
            peer.build_description(**kwargs)
            wrong += [t for t in texts if bool(peer.check_following(t)) != check(key, t, kwargs, "compat").passed]
        total += len(wrong)
        print(f"{key:46} {len(texts) * len(choices):7} checks, {len(wrong)} differ {wrong[:1] or ''}")
    return total


def _with_quotes(text: str, rng: random.Random) -> str:
    for _ in range(rng.randint(1, 8)):
        ends = [i + 1 for i, char in enumerate(text) if char in ".?!"] or [len(text)]
        at = rng.choice(ends)
        text = text[:at] + rng.choice(['"', "”", ")", "*", "...", "?", '."', " Dr.", " 1. "]) + text[at:]
    return text


def main() -> int:
    """Compare verdicts on generated texts, then numbers of sentences on real ones; return the exit code."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--texts", type=int, default=30_000)
    parser.add_argument("--rows", type=Path, default=DEFAULT)
    given = parser.parse_args()
    rng = random.Random(0)
    made = ("".join(rng.choices(PIECES, k=rng.randint(1, 14))) for _ in range(given.texts))
    total = differences([text for text in made if text.strip()])
    with gzip.open(given.rows, "rt", encoding="utf-8") as lines:
        responses = [json.loads(line)["response"] for line in lines]
    try:
        punkt = PunktTokenizer("english")
    except LookupError:
        print("sentences: skipped, NLTK's punkt_tab is not installed (set NLTK_DATA)")
        return 1 if total else 0
    cut = [_with_quotes(rng.choice(responses), rng) for _ in range(1000)]
    for name, sample in (("as they are", responses), ("with signs put in", cut)):
        same = sum(sentence_count(text) == len(punkt.tokenize(text)) for text in sample)
        print(f"sentences counted as Punkt does, responses {name}: {same} of {len(sample)}")
    return 1 if total else 0


if __name__ == "__main__":
    sys.exit(main())
