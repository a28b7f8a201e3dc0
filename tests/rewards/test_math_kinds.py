"""Every kind of gold answer in every dress that constraints force answers into: right passes, wrong does not."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from adhere.rewards.math import verify_answer
from adhere.rewards.verdict import Status

KINDS: dict[str, tuple[str, str, str]] = {
    # kind: (gold, the same in another spelling, a wrong one)
    "number": ("1080", "1,080", "1081"),
    "negative number": ("-3", "-3.0", "3"),
    "decimal": ("0.25", r"\frac{1}{4}", "0.26"),
    "fraction": (r"\frac{14}{3}", r"\dfrac{28}{6}", r"\frac{14}{5}"),
    "mixed number": (r"137 \frac{1}{2}", "137.5", r"136 \frac{1}{2}"),
    "radical": (r"3\sqrt{13}", r"\sqrt{117}", r"\sqrt{118}"),
    "multiple of pi": (r"\frac{3\pi}{2}", r"1.5\pi", r"\frac{2\pi}{3}"),
    "expression": ("x^2+3x-6", "3x - 6 + x^2", "x^2+3x+6"),
    "complex number": ("6+9i", "9i + 6", "6-9i"),
    "tuple": (r"(3, \frac{\pi}{2})", r"\left( 3, \frac{2\pi}{4} \right)", r"(\frac{\pi}{2}, 3)"),
    "set": (r"\{1, 2, 3\}", r"\{3, 1, 2\}", r"\{1, 2\}"),
    "list": ("1, -2", "-2, 1", "1, 2"),
    "interval": (r"(2, \infty)", r"x \in (2, \infty)", r"[2, \infty)"),
    "union": (r"(-\infty, 1) \cup (2, 5]", r"(2, 5] \cup (-\infty, 1)", r"(-\infty, 1) \cup (2, 5)"),
    "equation": ("y = 2x + 3", "2x - y + 3 = 0", "y = 2x - 3"),
    "matrix": (
        r"\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}",
        r"\begin{bmatrix} 1 & 2 \\ 3 & \frac{8}{2} \end{bmatrix}",
        r"\begin{pmatrix} 1 & 3 \\ 2 & 4 \end{pmatrix}",
    ),
    "choice": (r"\text{(C)}", "C", r"\text{(B)}"),
    "words": (r"\text{no solution}", r"\text{No solution}", r"\text{one solution}"),
    "unit": (r"5.4 \text{ cents}", r"5.4\text{ cent}", r"5.4 \text{ dollars}"),
    "angle": (r"30^\circ", "30", "60"),
    "percent": (r"25\%", "25", r"0.25\%"),
    "money": (r"\$18.90", "18.9", r"\$18.91"),
    "base": ("52_8", "52_{8}", "52_9"),
}


def as_json(answer: str) -> str:
    return json.dumps({"reasoning": "we add", "final answer": f"\\boxed{{{answer}}}"})


DRESSES: dict[str, Callable[[str], str]] = {
    "box": lambda answer: f"So it is \\boxed{{{answer}}}.",
    "box after another one": lambda answer: f"First \\boxed{{7777}}, but then we see\n\n$$\\boxed{{{answer}}}$$",
    "box and an unfinished one": lambda answer: f"It is \\boxed{{{answer}}}, as we\nsee: \\boxed{{",
    "final answer is": lambda answer: f"We add. The final answer is ${answer}$.",
    "json": as_json,
    "fenced json": lambda answer: f"```json\n{as_json(answer)}\n```",
    "json with lost escapes": lambda answer: '{"answer": "\\boxed{' + answer + '}"}',
    "quoted": lambda answer: f'"We add. The final answer is \\boxed{{{answer}}}."',
    "bulleted": lambda answer: f"* We add.\n* We look.\n* The final answer is: \\boxed{{{answer}}}",
    "highlighted": lambda answer: f"*We add.* **Final answer:** *\\boxed{{{answer}}}*",
    "sectioned": lambda answer: (
        f"SECTION 1\nWe add.\n\nSECTION 2\nThe answer is \\boxed{{{answer}}}.\n\nSECTION 3\nOk."
    ),
    "upper case": lambda answer: f"WE ADD. THE FINAL ANSWER IS \\boxed{{{answer}}}.".upper(),
    "lower case": lambda answer: f"we add. the final answer is \\boxed{{{answer}}}.".lower(),
    "end phrase": lambda answer: f"\\boxed{{{answer}}}\n\nIs there anything else I can help with?",
    "two responses": lambda answer: f"It is \\boxed{{{answer}}}.\n******\nAgain: \\boxed{{{answer}}}.",
    "after reasoning": lambda answer: f"<think>Maybe \\boxed{{7777}}?</think>It is \\boxed{{{answer}}}.",
}


@pytest.mark.parametrize("dress", DRESSES)
@pytest.mark.parametrize("kind", KINDS)
def test_the_gold_answer_is_found_and_a_wrong_one_is_not(kind: str, dress: str) -> None:
    gold, same, wrong = KINDS[kind]
    for answer in (gold, same):
        verdict = verify_answer(gold, DRESSES[dress](answer))
        assert verdict.score == 1.0, (answer, verdict.detail)
    verdict = verify_answer(gold, DRESSES[dress](wrong))
    assert (verdict.score, verdict.status) == (0.0, Status.OK), verdict.detail


@pytest.mark.parametrize("kind", KINDS)
def test_candidates_and_echoes_earn_nothing(kind: str) -> None:
    gold, same, wrong = KINDS[kind]
    attempts = [
        f"\\boxed{{{wrong}}} or \\boxed{{{same}}}",
        f"\\boxed{{{gold} \\text{{ or }} {wrong}}}",
        f"The answer is either ${gold}$ or ${wrong}$.",
        f"Is the answer {gold}? Put the final answer in \\boxed{{}}.",
        f"The value {gold} comes up, then {same}, then {gold}.",
        f"\\boxed{{{gold}}} is what some say. My final answer: \\boxed{{{wrong}}}",
        f"<think>\\boxed{{{gold}}}</think>I could not decide.",
        f"<think>\\boxed{{{gold}}}",
    ]
    for attempt in attempts:
        verdict = verify_answer(gold, attempt)
        assert (verdict.score, verdict.status) == (0.0, Status.OK), (attempt, verdict.detail)
