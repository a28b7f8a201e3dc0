"""The suite ``gsm8k``: GSM8K (arXiv 2110.14168), the 1,319 problems of its test split."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from pathlib import Path

from adhere.evaluation.suites.base import SuiteSource, suite
from adhere.evaluation.suites.maths import MathsSuite
from adhere.evaluation.suites.rows import file_of, source_rows
from adhere.prompts.item import Message
from adhere.prompts.sources import PromptStyle
from adhere.rewards.errors import DataError


@suite("gsm8k")
class GSM8K(MathsSuite):
    """The file that ``evaluation.path`` names, or the hub's ``openai/gsm8k``."""

    hub = "openai/gsm8k"
    size = 1319
    config = "main"
    examples = True

    def answer_problem(self, answer: str) -> str | None:
        return None if answer.replace(".", "", 1).lstrip("-").isdecimal() else "is not a number"

    def problems(self, source: SuiteSource) -> list[str]:
        found = super().problems(source)
        for file in self.example_files(source):
            if source.path is not None and source.path.exists() and not file.is_file():
                found.append(f"evaluation.few_shot: there is no {file}, of which the examples are taken")
        return found

    def example_files(self, source: SuiteSource) -> list[Path]:
        return [_training(source.path)] if source.few_shot and source.path is not None else []

    def shots(self, source: SuiteSource) -> tuple[Message, ...]:
        """Return the first problems of the training split, each with its solution and its answer in a box."""
        training = source if source.path is None else replace(source, path=_training(source.path))
        turns: list[Message] = []
        for row in islice(source_rows(training, self.hub, split="train", name=self.config), source.few_shot):
            question, solution = row.values.get("question"), row.values.get("answer")
            steps, mark, answer = solution.rpartition("####") if isinstance(solution, str) else ("", "", "")
            if not isinstance(question, str) or not mark:
                raise DataError(
                    f"{row.where}: is not a row of GSM8K's training split (question, and answer with '####')"
                )
            shown = "".join(part.partition(">>")[2] if i else part for i, part in enumerate(steps.split("<<")))
            turns += PromptStyle().messages(question.strip())
            turns.append(Message(role="assistant", content=f"{shown.strip()}\n\\boxed{{{answer.strip()}}}"))
        if len(turns) < 2 * source.few_shot:
            raise DataError(f"gsm8k: few_shot {source.few_shot} asks for more examples than the training split has")
        return tuple(turns)


def _training(path: Path) -> Path:
    return file_of(path).with_name("train.jsonl")
