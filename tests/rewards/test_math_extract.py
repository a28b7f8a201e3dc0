"""Which answer a response commits to, if any."""

from __future__ import annotations

import time

import pytest

from adhere.rewards.math import extract_answer

COMMITTED = [
    (r"So \boxed{42}.", "42"),
    (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
    (r"\fbox{3}", "3"),
    (r"\BOXED{\FRAC{1}{2}}", r"\FRAC{1}{2}"),
    (r"first \boxed{5}, then \boxed{27}.", "27"),
    (r"\boxed{1} and \boxed{-2}", "1, -2"),
    (r"\boxed{7}, \boxed{7}", "7"),
    (r"\boxed{12} but it was cut off: \boxed{13", "12"),
    (r"\boxed{12} \boxed{}", "12"),
    (r"\boxed 7", "7"),
    ("The final answer is 21.", "21"),
    ("THE FINAL ANSWER IS 21.", "21"),
    ("The answer is 3.5 because 7/2 = 3.5.", "3.5"),
    ("The final answer is 18 dollars that she makes every day at the market.", "18 dollars"),
    ("The answer is $x = 4$, as required.", "x = 4"),
    ("**Answer:** 72", "72"),
    ("**Final Answer**\n\n72", "72"),
    ("He has 3.\n#### 1,080", "1,080"),
    ("The answer is 5. No, the answer is 6.", "6"),
    ("Die Antwort lautet 72.", "72"),
    ("Das Endergebnis ist 72.", "72"),
    ("La respuesta es 72.", "72"),
    ("La réponse finale est 72.", "72"),
    ("Ответ: 72", "72"),
    ("答案是72。", "72"),
    ("答えは72です。", "72"),
    ("정답은 72입니다.", "72"),
    ("Đáp án là 72.", "72"),
    ('{"reasoning": "6*7", "answer": 42}', "42"),
    ('{"reasoning": "6*7", "Final Answer": "\\\\boxed{42}"}', "42"),
    ('{"answer": "\\boxed{\\frac{1}{2}}"}', r"\frac{1}{2}"),
    ('```json\n{"answer": "42"}\n```', "42"),
    ('"The answer is 21."', "21"),
    ("* step one\n* The answer is: **21**", "21"),
    ("The answer is Evelyn.", "Evelyn"),
    (" 42 ", "42"),
    ("3/4", "3/4"),
    ("$18", "$18"),
]

UNCOMMITTED = [
    "",
    " \n\t ",
    r"\boxed{}",
    r"\boxed{ {} }",
    r"The final answer is \boxed{}.",
    r"\boxed{27",
    "I do not know.",
    "27 or 28",
    "27 27 27 27",
    "I think 27 but who knows",
    "The answer is one of 26, 27, 28 or 29.",
    "The answer is either 26 or 27.",
    "How many apples does Mary have if she buys 27?",
    "answer answer answer 27",
    '{"answer": {"a": 27}}',
    '{"answer": true}',
]


@pytest.mark.parametrize(("response", "answer"), COMMITTED)
def test_the_committed_answer_is_found(response: str, answer: str) -> None:
    assert extract_answer(response) == answer


@pytest.mark.parametrize("response", UNCOMMITTED)
def test_without_commitment_there_is_no_answer(response: str) -> None:
    assert extract_answer(response) is None


@pytest.mark.parametrize(
    "unit",
    [
        r"\boxed{",
        r"\boxed{}",
        "{",
        "}",
        "\\",
        "$",
        "the answer is ",
        "answer to a ",
        '{"a":',
        "antwort a ",
        "#",
        " \n",
    ],
)
def test_a_million_characters_take_linear_time(unit: str) -> None:
    text = unit * (1_000_000 // len(unit))
    start = time.process_time()
    extract_answer(text)
    assert time.process_time() - start < 20, "quadratic extraction would take minutes"


def test_nested_boxes_are_read_once() -> None:
    assert extract_answer("\\boxed{" * 100_000 + "5" + "}" * 100_000) is not None


@pytest.mark.parametrize("escaped", [r"\boxed{\{1, 2\}}", r"\boxed{\left\{1\right.}"])
def test_escaped_braces_close_no_box(escaped: str) -> None:
    assert extract_answer(escaped) == escaped[7:-1]
