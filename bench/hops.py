"""The files that one prompt item crosses from its source to the gradient, and one constraint from its id to a verdict.

python bench/hops.py [--json FILE]

A GRPO step on the shipped model is run in this process under a profiler. A file is on the item's way if one of its
functions is given, or returns, the item: its row, its prompt, its rollouts, and within a training step the numbers made
of them (verdicts, rewards, tensors). Two things are beside the way and left out, with all that they call: what only
looks on (callbacks, monitors, rollout files, the hand-off check), and how an answer or a text is decided (the inside
of the maths verifier and of the constraints; the second count opens one constraint). ``*`` marks files whose functions
have no more than three statements each where the item passes: they only pass it on.
"""

from __future__ import annotations

import argparse
import ast
import dataclasses
import json
import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]
os.environ |= {"HF_HUB_OFFLINE": "1"}

MARKS = ("Ottoline", "70313")
"""The name in the question, and the gold answer, by which the item is known."""

ROWS = [
    {
        "question": f"{name} has {n} pens and buys {n + 1} more. How many pens does {name} have now?",
        "answer": f"{name} has {n}+{n + 1} = <<{n}+{n + 1}={2 * n + 1}>>{2 * n + 1} pens.\n#### {2 * n + 1}",
    }
    for name, n in {"Ottoline": 35156, "Tim": 2, "Ana": 3, "Ben": 4, "Eva": 5, "Ida": 6, "Max": 7, "Kim": 8}.items()
]
RECIPE = [
    "stages=[grpo]", "launcher.device=cpu", "grpo.max_steps=1", "grpo.max_completion_length=24", "model.context=1024",
    "grpo.per_device_batch_size=16", "grpo.group_size=2", "grpo.max_clipped_steps=99", "data.evaluation=[]",
    "evaluation.suite=gsm8k", "data.train_size=8", "data.evaluation_size=null", "data.constraints.share=1",
    "data.constraints.ids=[keywords:existence]", "~rewards.components.format", "~rewards.components.length",
]  # fmt: skip

LOOKS_ON = {
    ("records/tables.py", "*"), ("rewards/adherence.py", "adherence"), ("rewards/verdict.py", "*"),
    ("train/stages/data.py", "prompt_length"), ("train/stages/levers.py", "levers"),
    ("train/model/handoff.py", "sample"),
    ("train/stages/callbacks.py", "*"), ("train/stages/tracking.py", "*"), ("train/stages/setup.py", "random_state"),
    ("train/stages/setup.py", "check_equal_weights"), ("train/stages/trainer.py", "__init__"),
    ("train/stages/trainer.py", "checkpoint_state"), ("train/stages/grpo_trainer.py", "checkpoint_state"),
    ("train/stages/grpo_trainer.py", "_watch"), ("train/stages/grpo_trainer.py", "_log_components"),
}  # fmt: skip
DECIDES = {
    ("rewards/components/math.py", "score"), ("rewards/components/checklist.py", "score"),
    ("rewards/math/gold.py", "check_gold"), ("rewards/math/gold.py", "normalise_gold"),
    ("prompts/attach.py", "_draw"), ("prompts/attach.py", "satisfiable"),
}  # fmt: skip
"""Files and functions that are not followed, nor what they call; ``*`` are all of a file. Of those that decide a
component and the drawing count themselves: the item goes in, and comes out with a verdict or a constraint."""


def carries(value: Any, numbers: bool, depth: int = 4) -> bool:
    """Whether the item is in ``value``; ``numbers`` says whether tensors and verdicts are what became of it."""
    if isinstance(value, str):
        return any(mark in value for mark in MARKS)
    kind = type(value).__name__
    if numbers and isinstance(value, list) and len(value) > 4 and all(type(token) is int for token in value):
        return True
    if kind in ("Tensor", "ndarray", "Verdict"):
        return numbers
    if kind == "Dataset":
        return True
    if depth == 0:
        return False
    if isinstance(value, Mapping):
        return any(carries(inner, numbers, depth - 1) for inner in value.values())
    if isinstance(value, list | tuple):
        return any(carries(inner, numbers, depth - 1) for inner in value[:64])
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = (getattr(value, field.name, None) for field in dataclasses.fields(value))
        return any(carries(inner, numbers, depth - 1) for inner in fields)
    return False


class Trace:
    """Collects the functions of ours that run; ``holds`` decides from a frame, and what it returns, whether one counts.

    ``functions`` has their files and names in the order in which each first counted.
    """

    def __init__(self, holds: Callable[[FrameType, Any], bool], closed: set[tuple[str, str]]) -> None:
        self._holds, self._closed = holds, closed
        self._shut: FrameType | None = None
        self.functions: dict[tuple[str, str], int] = {}

    def __call__(self, frame: FrameType, event: str, value: Any) -> None:
        if event not in ("call", "return"):
            return
        if self._shut is not None:
            if frame is self._shut and event == "return":
                self._shut = None
            return
        path = Path(frame.f_code.co_filename)
        if not path.is_relative_to(ROOT):
            return
        name = str(path.relative_to(ROOT)).removeprefix("adhere/")
        if name.startswith(("bench", "tests", ".venv")) or frame.f_code.co_name == "<module>":
            return
        place = name, frame.f_code.co_name
        shut = place in self._closed or (name, "*") in self._closed
        if event == "call" and shut:
            self._shut = frame
            if place not in DECIDES or name.startswith("rewards/math/"):
                return
        if place not in self.functions and self._holds(frame, value):
            self.functions[place] = frame.f_code.co_firstlineno

    @property
    def files(self) -> list[str]:
        return list(dict.fromkeys(name for name, _ in self.functions))


def short(trace: Trace, name: str) -> bool:
    """Whether the functions of file ``name`` that counted have three statements or fewer each."""
    lines = {line for (file, _), line in trace.functions.items() if file == name}
    nodes = [
        n for n in ast.walk(ast.parse((ROOT / name).read_text(encoding="utf-8"))) if isinstance(n, ast.FunctionDef)
    ]
    found = [n for n in nodes if {n.lineno, *(d.lineno for d in n.decorator_list)} & lines]
    return all(len([s for s in ast.walk(node) if isinstance(s, ast.stmt)]) - 1 <= 4 for node in found)


def item_way(folder: Path, closed: set[tuple[str, str]]) -> Trace:
    """Train one step below ``folder``; return what the marked item crossed, without what is ``closed``."""
    from attempts import prepare, whole

    from adhere.rewards.files import write_json

    data = folder / "gsm8k.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf-8")
    artifact = prepare(folder, *RECIPE, f"data.train=[{{path: {data}}}]")
    write_json(artifact.handoff, {"stopped": 1.0})  # the shipped model does not end its answers to such questions
    training = 0

    def holds(frame: FrameType, value: Any) -> bool:
        nonlocal training
        training = training or frame.f_code.co_name == "training_step"
        return carries(value, bool(training)) or carries(dict(frame.f_locals), bool(training))

    trace = Trace(holds, closed)
    sys.setprofile(trace)
    try:
        whole(artifact)
    finally:
        sys.setprofile(None)
    return trace


def constraint_way() -> Trace:
    """Score one text against a checklist of one constraint, from JSON; return every function of ours that ran."""
    from adhere.rewards.checklist import parse_checklist, score_checklist

    check = {"constraint": "keywords:existence", "kwargs": {"keywords": ["pen"]}}
    row = {"id": "words", "text": "Use the word pen.", "check": check}

    def score() -> None:
        assert score_checklist("My pen is blue.", parse_checklist([row], "here")).passed

    score()  # what is imported or prepared once is not on the way
    trace = Trace(lambda frame, value: True, set())
    sys.setprofile(trace)
    try:
        score()
    finally:
        sys.setprofile(None)
    return trace


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="file to write the two lists to")
    parser.add_argument("--open", action="store_true", help="follow what is beside the way, too")
    parser.add_argument("--functions", action="store_true", help="name the functions of each file")
    wanted = parser.parse_args()
    constraint = constraint_way()
    with tempfile.TemporaryDirectory() as folder:
        item = item_way(Path(folder), set() if wanted.open else LOOKS_ON | DECIDES)
    for title, trace in (("one prompt item, source to gradient", item), ("one constraint, id to verdict", constraint)):
        print(f"{title}: {len(trace.files)} files, {sum(short(trace, name) for name in trace.files)} only pass it on")
        for name in trace.files:
            functions = ", ".join(function for file, function in trace.functions if file == name)
            print(f"  {'*' if short(trace, name) else ' '} {name}" + (f": {functions}" if wanted.functions else ""))
    if wanted.json:
        wanted.json.write_text(json.dumps({"item": item.files, "constraint": constraint.files}, indent=2) + "\n")


if __name__ == "__main__":
    main()
