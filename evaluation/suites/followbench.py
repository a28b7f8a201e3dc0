"""The suite ``followbench``: FollowBench (arXiv 2310.20410), one constraint more a level.

HSR is the share of responses that meet every constraint of their level, SSR the mean share of constraints met. CSL is
the mean over groups of how many levels in a row are met, from the first. Where there are rules, one decides a level as
a whole, so that SSR equals HSR. With ``subsets: [rules, judged]`` a judge decides the other groups: of each level it is
asked about every constraint that was added on the way, one by one, by the instructions before and after.
"""

from __future__ import annotations

import ast
import re
import string
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from adhere.evaluation.generation import Generation
from adhere.evaluation.scoring import UNFINISHED, Score, ScoredRow
from adhere.evaluation.statistics import Bootstrap
from adhere.evaluation.suites.base import SuiteKind, SuiteSource, suite
from adhere.evaluation.suites.following import NO_GOLD, judged_text
from adhere.evaluation.suites.judged import is_met, judged_verdicts
from adhere.prompts.item import PromptItem, Row, read_rows
from adhere.rewards.checklist import Decider, JudgeCheck, Requirement, SuiteCheck
from adhere.rewards.constraints import Mode, decided
from adhere.rewards.engine import Engine
from adhere.rewards.errors import DataError, nearest
from adhere.rewards.verdict import Status, Verdict, failed, unscored

LEVELS = 5
SUBSETS = ("rules", "judged")
FORM = "a row of FollowBench is {example_id, category, source, level, instruction, target}"
Test = Callable[[str], bool]


def _sentences(text: str) -> list[str]:
    return [part for part in re.split(r"[.!?]", text) if part]


def _has(word: str) -> Test:
    return lambda text: re.search(rf"\b{re.escape(word)}\b", text) is not None


def _hasnt(word: str) -> Test:
    return lambda text: not _has(word)(text)


def _nth(number: int, test: Test) -> Test:
    """Return a test of the sentence ``number``, from 1; a text with fewer sentences does not pass."""
    return lambda text: len(found := _sentences(text)) >= number and test(found[number - 1])


def _count(number: int) -> Test:
    return lambda text: len(_sentences(text)) == number


def _marks(text: str) -> int:
    return sum(char in string.punctuation for char in text)


def _three_parts(text: str) -> bool:
    return all(len(_sentences(part)) < 3 for part in (text.split("\n\n") + [""] * 3)[:3])


def _numbered(text: str) -> bool:
    return all(re.match(r"\d+\.", part.lstrip()) for part in text.split("\n\n") if part.strip())


LADDERS: Mapping[str, Sequence[Test]] = {
    "cnn_dailymail": (
        _count(3),
        lambda text: all(len(part.split()) < 15 for part in _sentences(text)),
        lambda text: all(_nth(n, _has(word))(text) for n, word in enumerate(("Potter", "actor", "films"), start=1)),
        lambda text: not _nth(2, _has("lavish"))(text),
        _nth(3, lambda text: re.search(r"\b(has|have)\s+\w+", text) is not None),
    ),
    "xsum": (
        _count(1),
        lambda text: len(text.split(" ")) < 20,
        _hasnt("Newton Stewart"),
        lambda text: re.search(r"\b(am|is|are)\s+\w+ing\b", text) is not None,
        _has("operation"),
    ),
    "samsum": (
        _count(1),
        lambda text: len(text.split(" ")) < 15,
        _has("stuff"),
        lambda text: "procrast" not in text.lower(),
        lambda text: _marks(text) == 1,
    ),
    "gigaword": (
        lambda text: len(text.split(" ")) == 8,
        lambda text: _marks(text) == 0,
        str.islower,
        _hasnt("bus"),
        _has("in"),
    ),
    "arxiv": (
        _count(1),
        lambda text: len(text.split(" ")) <= 20,
        lambda text: text.startswith("We"),
        _has("activations"),
        _hasnt("transformer"),
    ),
}
"""Sources whose level n asks for the first n of these tests."""

ANSWERS: Mapping[str, Callable[[str, str], bool]] = {
    "E2E": lambda text, target: text == target,
    "text_editing": lambda text, target: text == target,
    "WIKIEVENTS": lambda text, target: set(text.split("\n")) <= set(target.split("\n")),
    "CONLL2003": lambda text, target: text in ast.literal_eval(target),
    "BBH_logical": lambda text, target: re.findall(r"\([A-Z]\)", text)[-1:] == [target],
    "BBH_time": lambda text, target: re.findall(r"\d{2}/\d{2}/\d{4}", text)[-1:] == [target],
    "self_made_space": lambda text, target: target in text,
    "gsm_8k": lambda text, target: re.findall(r"\$\d+", text)[-1:] == [target],
}
"""Sources whose every level has a target that the response is held against."""


def setup_advice(level: int, text: str) -> bool:
    """Decide example 22 of the format file: three short numbered parts of long sentences, and a closing phrase."""
    tests: tuple[Test, ...] = (
        lambda text: len(text.split("\n\n")) == (4 if level == LEVELS else 3),
        _three_parts,
        lambda text: all(len(part.split()) > 20 for part in _sentences(text)),
        _numbered,
        lambda text: text.endswith("Those are suggestions"),
    )
    return all(test(text) for test in tests[:level])


def level_points(level: int, text: str) -> bool:
    """Decide example 30 of the format file: five bold keywords, each with a sentence of 10 to 15 words."""
    parts = re.split(r"(?<!\w\.\w.)(?<![A-Z][a-z]\.)(?<=\.|\?)\s", text)
    tests = (
        "**" in text,
        len(re.findall(r"\*\*[\d].+?:", text)) == 5,
        all(len(part.split(".")) < 3 for part in parts if any(f"{n}." in part for n in range(1, 6))),
        all(10 <= len(part.split()) <= 15 for part in parts),
        not any(word.endswith("-ly") for word in text.split()),
    )
    return all(tests[:level])


def template(target: str, text: str) -> bool:
    """Decide the example file: the whole response has the form of the examples around ``{answer}``."""
    form = target.replace("{instruction}\n", "").replace("{{", "{").replace("}}", "}")
    return re.fullmatch(".*".join(map(re.escape, form.split("{answer}"))), text) is not None


def check_rule(rule: str, level: int, target: str, text: str) -> Verdict:
    """Decide a response.

    Args:
        rule: a source, ``example``, or ``format 22`` and ``format 30``.
        level: how many constraints there are, from 1 to 5.
        target: what the row holds for the rule.
        text: the response; a blank one meets nothing.
    """
    if not text.strip():
        return failed("the text is empty")
    if rule == "example":
        return decided(template(target, text), rule)
    if rule in LADDERS:
        return decided(all(test(text) for test in LADDERS[rule][:level]), rule)
    if rule.startswith("format"):
        return decided(setup_advice(level, text) if rule == "format 22" else level_points(level, text), rule)
    return decided(ANSWERS[rule](text, target), rule)


@suite("followbench")
class FollowBench(SuiteKind):
    """The folder of FollowBench's English files, or one of them."""

    twins = False
    modes = ("compat",)
    headline = "hsr"

    def problems(self, source: SuiteSource) -> list[str]:
        found = [] if source.path else ["evaluation.path: name the folder of FollowBench's *_constraints.json files"]
        for name in source.subsets or ():
            if name not in SUBSETS:
                found.append(
                    f"evaluation.subsets: followbench has no '{name}'{nearest(name, SUBSETS)}; [rules, judged]"
                )
        return found

    def files(self, source: SuiteSource) -> list[Path]:
        if source.path is None:
            return []
        return sorted(source.path.glob("*_constraints.json")) if source.path.is_dir() else [source.path]

    def items(self, source: SuiteSource) -> Iterable[PromptItem]:
        files = self.files(source)
        if not files:
            raise DataError(f"{source.path}: holds no *_constraints.json; name the folder of FollowBench's files")
        subsets = source.subsets or ["rules"]
        for file in files:
            told: dict[tuple[Any, int], str] = {}
            for row in read_rows(file):
                item = _item(row, file.stem.removesuffix("_constraints"), told)
                if item is not None and ("judged" if _is_judged(item) else "rules") in subsets:
                    yield item

    def score(
        self,
        pairs: Sequence[tuple[PromptItem, Generation]],
        mode: Mode,
        engine: Engine | None = None,
        judge: Decider | None = None,
    ) -> list[Score]:
        judged = [pair for pair in pairs if _is_judged(pair[0])]
        verdicts_of = iter(judged_verdicts(judged, mode, engine, judge))
        scores = []
        for item, generation in pairs:
            nothing = unscored(Status.NOT_APPLICABLE, NO_GOLD)
            if _is_judged(item):
                verdicts = next(verdicts_of)
                met = [is_met(v) for v in verdicts]
                hsr = 0.0 if 0.0 in met else None if None in met else 1.0
                ssr = None if None in met else sum(value or 0.0 for value in met) / len(met)
                scores.append(Score(nothing, verdicts, hsr, ssr, None, measures={"hsr": (hsr,), "ssr": (ssr,)}))
                continue
            text = None if generation.error else judged_text(generation, mode)
            rule = item.checklist[0].check
            assert isinstance(rule, SuiteCheck)
            if text is None:
                verdict = unscored(Status.ERROR, generation.error or "") if generation.error else failed(UNFINISHED)
            else:
                verdict = check_rule(rule.name, rule.kwargs["level"], rule.kwargs["target"], text)
            figures = {"hsr": (verdict.score,), "ssr": (verdict.score,)}
            scores.append(Score(nothing, (verdict,), verdict.score, verdict.score, None, measures=figures))
        return scores

    def figures(self, rows: Sequence[ScoredRow], bootstrap: Bootstrap) -> Mapping[str, Any]:
        levels: dict[int, list[ScoredRow]] = {}
        groups: dict[tuple[str, int], dict[int, float | None]] = {}
        for row in rows:
            group, level = row.item.meta["group"], int(row.item.meta["level"])
            levels.setdefault(level, []).append(row)
            groups.setdefault((group, row.sample), {})[level] = row.score.hacc
        found: dict[str, Any] = {
            f"hsr_level_{level}": bootstrap.estimate([r.score.hacc for r in at], [r.item.id for r in at]).to_dict()
            for level, at in sorted(levels.items())
        }
        # CSL lies in [0, 5]: its interval is that of the share of levels, times their number.
        reached: list[float | None] = []
        for met in groups.values():
            flags = [met.get(level) for level in range(1, LEVELS + 1)]
            streak = next((n for n, flag in enumerate(flags) if flag != 1.0), LEVELS)
            reached.append(None if None in flags[: streak + 1] else streak / LEVELS)
        share = bootstrap.estimate(reached, [group for group, _ in groups]).to_dict()
        scaled = ("mean", "low", "high", "least", "most")
        found["csl"] = {k: v * LEVELS if k in scaled and v is not None else v for k, v in share.items()}
        return found


def _is_judged(item: PromptItem) -> bool:
    return isinstance(item.checklist[0].check, JudgeCheck)


def _item(row: Row, file: str, told: dict[tuple[Any, int], str]) -> PromptItem | None:
    """Return a row as a prompt; nothing for level 0, which has no constraint.

    Args:
        row: of the file.
        file: the kind of constraints.
        told: the instructions of the rows before, by example and level; this row's is added.
    """
    wanted = ("example_id", "category", "source", "level", "instruction", "target")
    if missing := [name for name in wanted if name not in row.values]:
        raise DataError(f"{row.where}: lacks {', '.join(missing)}; {FORM}; is it a file of another benchmark?")
    number, category, source, level, instruction, target = (row.values[name] for name in wanted)
    if not isinstance(instruction, str) or not isinstance(level, int) or not 0 <= level <= LEVELS:
        raise DataError(f"{row.where}: instruction is not a text, or level is not a number from 0 to {LEVELS}; {FORM}")
    rule = "example" if category == "example" else source if source in LADDERS or source in ANSWERS else None
    if category == "format" and number in (22, 30):
        rule = f"format {number}"
    told[number, level] = instruction
    if level == 0:
        return None
    if rule is None:
        if missing_levels := [str(n) for n in range(level) if (number, n) not in told]:
            raise DataError(
                f"{row.where}: example {number} has no level {', '.join(missing_levels)} before its level {level}; a "
                f"judge is told what each level adds"
            )
        checklist = tuple(
            Requirement(
                f"constraint {n}",
                f"Instruction A:\n{told[number, n - 1]}\n\nInstruction B:\n{told[number, n]}\n\nInstruction B demands "
                f"one thing more than instruction A, or another thing in its place. The response meets that demand.",
                JudgeCheck(),
            )
            for n in range(1, level + 1)
        )
    else:
        check = SuiteCheck(rule, {"level": level, "target": str(target)})
        checklist = (Requirement(f"level {level}", instruction, check),)
    return PromptItem.asking(
        instruction,
        item_id=f"{file}/{number}/{level}",
        source=f"followbench/{file}",
        checklist=checklist,
        meta={"group": f"{file}/{number}", "level": level},
    )
