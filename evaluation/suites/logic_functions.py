"""Functions in words for the suite ``logicif``: rules over a list of integers, with a counter for each rule.

A function is data, not code: its text and its result are made of the same list of rules, which ``run_rules`` follows.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

LEVELS: Mapping[str, tuple[int, int, int]] = {"easy": (2, 4, 1), "medium": (3, 6, 1), "hard": (4, 8, 2)}
"""Of each level: rules, numbers of an input, and how often the list is gone through."""

PER_LEVEL, CASES = 20, 2

CONDITIONS: Mapping[str, str] = {
    "even": "the number is even",
    "odd": "the number is odd",
    "above": "the number is greater than {}",
    "below": "the number is less than {}",
    "multiple": "the total is a multiple of {}",
    "rising": "the number is greater than the one taken before it (this does not hold for the first one taken)",
}
ACTIONS: Mapping[str, str] = {
    "add": "add the number to the total",
    "subtract": "subtract the number from the total",
    "plus": "add {} to the total",
    "times": "multiply the total by {}",
    "modulo": "replace the total by its remainder on division by {} (from 0 upwards)",
    "next": "go on with the next number at once, without the rules that are left",
}


@dataclass(frozen=True, slots=True)
class Rule:
    """If ``condition`` with ``bound`` holds, do ``action`` with ``amount``."""

    condition: str
    bound: int
    action: str
    amount: int

    def text(self) -> str:
        """Return the rule as a sentence."""
        return f"If {CONDITIONS[self.condition].format(self.bound)}, {ACTIONS[self.action].format(self.amount)}."


@dataclass(frozen=True, slots=True)
class LogicFunction:
    """One function on one input: what is asked, and what running it gives."""

    name: str
    case: int
    level: str
    rules: tuple[Rule, ...]
    start: int
    passes: int
    numbers: tuple[int, ...]
    output: int
    stats: Mapping[str, int]

    @property
    def text(self) -> str:
        """The prompt."""
        again = (
            ""
            if self.passes == 1
            else f" When the list is at its end, go through it again, {self.passes} times in all."
        )
        lines = "\n".join(f"{i}. {rule.text()}" for i, rule in enumerate(self.rules, start=1))
        keys = ", ".join(f'"{key}": <count>' for key in self.stats)
        return (
            f"Follow a procedure by hand, step by step, without writing a program.\n\n"
            f"There is a list of integers and a total, which begins at {self.start}. Take the numbers of the list in "
            f"their order.{again} For each number go through these rules in their order; a rule sees the total as the "
            f"rules before it have left it:\n{lines}\n\n"
            f"Count how often the condition of each rule held, in rule_1, rule_2 and so on. A rule that was left out "
            f"because of an earlier one is not counted.\n\n"
            f"List: {list(self.numbers)}\n\n"
            f"When you are done, end your answer with one JSON object:\n"
            f'{{"output": <the total at the end>, "stats": {{{keys}}}}}'
        )


def run_rules(rules: Sequence[Rule], start: int, numbers: Sequence[int], passes: int = 1) -> tuple[int, dict[str, int]]:
    """Return the total at the end, and how often each rule's condition held.

    Args:
        rules: in their order.
        start: the total at the beginning.
        numbers: the list.
        passes: how often the list is gone through.
    """
    total, before = start, None
    counts = dict.fromkeys((f"rule_{i}" for i in range(1, len(rules) + 1)), 0)
    for number in list(numbers) * passes:
        for place, rule in enumerate(rules, start=1):
            holds = {
                "even": number % 2 == 0,
                "odd": number % 2 == 1,
                "above": number > rule.bound,
                "below": number < rule.bound,
                "multiple": total % max(rule.bound, 1) == 0,
                "rising": before is not None and number > before,
            }[rule.condition]
            if not holds:
                continue
            counts[f"rule_{place}"] += 1
            if rule.action == "next":
                break
            total = {
                "add": total + number,
                "subtract": total - number,
                "plus": total + rule.amount,
                "times": total * rule.amount,
                "modulo": total % max(rule.amount, 1),
            }[rule.action]
        before = number
    return total, counts


def functions(seed: int = 0) -> Iterator[LogicFunction]:
    """Yield 20 functions of each level on two inputs each; equal seeds give equal functions.

    A function whose total leaves ±100,000, or in which a rule never applies, is drawn anew: such a rule asks nothing.
    """
    for level, (count, length, passes) in LEVELS.items():
        for number in range(PER_LEVEL):
            draw = random.Random(f"logicif/{seed}/{level}/{number}")
            while True:
                conditions = draw.sample(list(CONDITIONS), count)
                actions = [*draw.sample([a for a in ACTIONS if a != "next"], count - 1), draw.choice(list(ACTIONS))]
                draw.shuffle(actions)
                if actions[-1] == "next":
                    continue  # after the last rule there is nothing to leave out
                rules = tuple(
                    Rule(
                        condition,
                        draw.randint(2, 5) if condition == "multiple" else draw.randint(-5, 12),
                        action,
                        draw.randint(2, 3) if action == "times" else draw.randint(4, 19),
                    )
                    for condition, action in zip(conditions, actions, strict=True)
                )
                start = draw.randint(0, 20)
                inputs = [tuple(draw.randint(-9, 20) for _ in range(length)) for _ in range(CASES)]
                results = [run_rules(rules, start, numbers, passes) for numbers in inputs]
                applied = [sum(stats[key] for _, stats in results) for key in results[0][1]]
                if all(abs(total) <= 100_000 for total, _ in results) and min(applied) > 0:
                    break
            for case, (numbers, (total, stats)) in enumerate(zip(inputs, results, strict=True)):
                name = f"{level}-{number}"
                yield LogicFunction(name, case, level, rules, start, passes, numbers, total, stats)
