"""Wrong answers that must not pass, class by class, each beside the right answers that look like them."""

from __future__ import annotations

import pytest

from adhere.rewards.math import verify_answer
from adhere.rewards.verdict import Status

# class: pairs of a gold answer and what stands in the box
WRONG_BOXES: dict[str, list[tuple[str, str]]] = {
    "units that differ": [
        (r"90\text{ mph}", r"90\text{ km/h}"),
        (r"90 \text{ km/h}", "90 mph"),
        (r"3\text{ Joules}", r"3\text{ Newtons}"),
        ("3 Newtons", "3 Joules"),
        ("5 apples", "5 oranges"),
        ("5 oranges", r"5\text{ apples}"),
        (r"12\text{ boys}", r"12\text{ girls}"),
        (r"12\text{ m}^2", r"12\text{ m}^3"),
        (r"12\text{ square meters}", r"12\text{ meters}"),
        (r"12\text{ m/s}", r"12\text{ m/s}^2"),
        (r"12\text{ per hour}", r"12\text{ per day}"),
        (r"7\text{ MW}", r"7\text{ mW}"),
        (r"7\text{ marbles}", r"7\text{ cm}"),
        (r"7\text{ cm}", r"7\text{ marbles}"),
        (r"3\sqrt{5}\text{ cm}", r"3\sqrt{5}\text{ m}"),
        (r"288\pi\text{ cm}^3", r"288\pi\text{ cm}^2"),
        (r"20^\circ\text{C}", r"20^\circ\text{F}"),
        (r"\frac{1}{2}\text{ hour}", r"\frac{1}{2}\text{ minute}"),
        (r"\$5", r"5\text{ cents}"),
        (r"5\text{ red apples}", r"5\text{ green apples}"),
        (r"3\text{ kJ}", r"3\text{ J}"),
        (r"3\text{ lumens}", r"3\text{ candela}"),
        (r"90\text{ knots}", r"90\text{ mph}"),
        (r"3\text{ bottles of milk}", r"3\text{ bottles of water}"),
        ("3^\\circ", r"3\text{ rad}"),
        (r"3\text{ ft}", "3''"),
    ],
    "an option that is doubted": [
        ("C", r"\text{(C)}\text{ maybe}"),
        ("C", r"\textbf{(C)}\ \text{probably}"),
        ("C", "C: maybe"),
        ("C", r"(C) \text{I guess}"),
        ("C", "C) wrong"),
        ("C", r"\textbf{(C)}\ 12?"),
        ("C", r"\textbf{(C)}\ \text{not } 12"),
        ("C", r"\text{Option C?}"),
    ],
    "a mark or a letter that changes the value": [
        ("7", r"7\text{ x}"),
        ("7", r"7\text{ thousandths}"),
        ("7", r"7\text{ N/A}"),
        ("7", r"7\text{ contradiction}"),
        ("7", "7'"),
        ("7", r"7\text{th}"),
        ("7", "7^{th}"),
        ("7", r"7\text{ k}"),
        ("7", "7!"),
        ("7", "7^*"),
        ("7", r"\overline{7}"),
        ("7", r"\overset{8}{7}"),
        ("7", r"7\text{ percent off}"),
        ("7", r"7\text{ upwards}"),
    ],
    "text that takes the answer back": [
        ("7", r"7\text{ (incorrect)}"),
        ("7", r"7\text{ incorrect}"),
        ("7", r"7 \text{ is wrong}"),
        ("7", r"7\text{ (wrong)}"),
        ("7", r"7\text{ not}"),
        ("7", r"7\text{ fails}"),
        ("7", r"7\text{ doesn't work}"),
        ("7", r"7\text{ excluded}"),
        ("7", r"7 (not sure)"),
        ("7", r"7\text{ maybe}"),
        ("7", "7 maybe"),
        ("7", r"7 \text{ (a guess)}"),
        ("7", r"\text{not } 7"),
        ("7", r"\text{no } 7"),
        ("7", r"\text{probably } 7"),
        ("7", "7?"),
        ("7", r"7\text{?}"),
        (r"\sqrt{7}", r"\sqrt{7}\text{ (no)}"),
        *[("7", rf"7\text{{ {doubt}}}") for doubt in ("unverified", "tentative", "est.", "typo", "oops", "etc.")],
        *[("7", rf"7\text{{ {doubt}}}") for doubt in ("nein", "falso", "errado", "incorrecto", "faux", "не", "错")],
        (r"\sqrt{7}", r"\sqrt{7}\text{ is false}"),
        ("x+1", r"x+1\text{ (?)}"),
    ],
    "text that bounds the answer": [
        ("7", r"7\text{ at most}"),
        ("7", r"\text{at most } 7"),
        ("7", r"7\text{ or more}"),
        ("7", r"7\text{ at least}"),
        ("7", r"7 \text{ cm or less}"),
        ("7", r"\text{more than } 7"),
        ("7", r"7\text{ minimum}"),
        ("7", r"7\text{ approximately}"),
        ("7", r"\text{about } 7"),
        ("7", r"7^+"),
        ("7", r"7\ldots"),
        ("7", "7..."),
        ("7", r"7\text{ upper bound}"),
        (r"\pi", r"\pi\text{ at most}"),
        (r"\frac{1}{2}", r"\frac{1}{2}\text{ or less}"),
    ],
    "another answer beside it": [
        ("7", r"7\text{ (or 8)}"),
        ("7", r"7\text{ (or }8)"),
        ("7", r"7\text{ or }8"),
        ("7", r"7/8\text{ or }7"),
        ("7", r"7\text{ and }8"),
        ("7", r"7\text{ (alternatively eight)}"),
        ("7", r"7 \text{ or eight}"),
        ("7", r"7 \quad 8"),
        ("7", r"7\;8"),
        (r"\sqrt{2}", r"\sqrt{2}\text{ or }\sqrt{3}"),
        (r"\text{Yes}", r"\text{Yes or no}"),
        (r"\text{(C)}", r"\text{(C) or (D)}"),
    ],
    "a value changed by a word": [
        ("7", r"7\text{ million}"),
        ("7", r"7\text{ dozen eggs}"),
        ("7", r"7\text{ squared}"),
        ("7", r"7\text{ minus one}"),
        ("7", r"7\text{ tenths}"),
        ("7", r"7\text{ factorial}"),
        ("7", r"7\text{ modulo nine}"),
    ],
    "a subscript that is not a base": [
        ("120", "120_{121}"),
        ("120_{121}", "120"),
        ("120", "120_1"),
        ("120", "120_{37}"),
        ("120", "120_0"),
        ("120", "120_{x}"),
        ("29", "29_8"),
        ("52", "52_8"),
        ("52_8", "52_9"),
        ("x", "x_1"),
        (r"\frac{1}{2}", r"\frac{1}{2_{121}}"),
        ("120_{121}", "120_{122}"),
        ("12", "12_{}"),
    ],
}

WRONG_RESPONSES = [
    ("7", r"\boxed{6} \text{ or } \boxed{7}"),
    ("7", r"$\boxed{6}$ $\text{ or }$ $\boxed{7}$"),
    ("7", r"\boxed{6}\text{ and }\boxed{7}"),
    ("7", r"\boxed{6} \quad \boxed{7}"),
    ("7", r"\boxed{6}\;\boxed{7}"),
    ("7", r"\boxed{6} or maybe \boxed{7}"),
    ("7", r"\boxed{6} or, less likely, \boxed{7}."),
    ("7", r"\boxed{6}, perhaps \boxed{7}"),
    ("7", r"\boxed{6} oder \boxed{7}"),
    ("7", r"\boxed{6} \lor \boxed{7}"),
    ("7", r"\boxed{6} vs \boxed{7}"),
    ("7", r"\boxed{6} \hspace{1cm} \boxed{7}"),
    ("7", r"\boxed{6} или \boxed{7}"),
    ("7", r"\boxed{7} or 6"),
    ("7", r"\boxed{7} or maybe $6$."),
    ("7", r"$\boxed{7}$ or $\frac{1}{2}$"),
    ("7", r"\boxed{7}?"),
    ("7", r"\boxed{7} is wrong."),
    ("7", r"\boxed{7}, but maybe \boxed{8}"),
    ("7", r"\boxed{7} (not sure)"),
    ("7", r"\boxed{7} maybe"),
    ("7", "The answer is probably 7."),
    ("7", "The answer is maybe 7."),
    ("7", "The answer is perhaps 7."),
    ("7", "The answer is not 7."),
    ("7", "The answer is 7, maybe."),
    ("7", "The answer is 7 or so."),
    ("7", "The answer is 7 at most."),
    ("7", "The answer is at least 7."),
    ("7", "The answer is $7$ or more."),
    ("7", "The answer is 7 (incorrect)."),
    ("7", "The answer is 7?"),
    ("7", "#### 7 or 8"),
    ("7", '{"answer": "7 or 8"}'),
    ("7", '{"answer": "maybe 7"}'),
]

RIGHT_BOXES = [
    ("7", "7"),
    ("7", r"7\text{ apples}"),
    ("7", r"7 \text{ apples in total}"),
    (r"7\text{ apples}", "7 apple"),
    (r"7\text{ apples}", "7"),
    (r"90\text{ mph}", "90"),
    (r"90\text{ mph}", r"90\text{ miles per hour}"),
    (r"90\text{ mph}", r"90\,\frac{\text{mi}}{\text{h}}"),
    (r"90\text{ km/h}", r"90\text{ kilometers per hour}"),
    (r"90\text{ km/h}", r"90\ \mathrm{km}/\mathrm{h}"),
    (r"3\text{ Newtons}", r"3\text{ N}"),
    (r"12\text{ m}^2", r"12\text{ square meters}"),
    (r"12\text{ cm}^3", r"12\text{ cubic centimeters}"),
    (r"12\text{ m/s}^2", r"12\text{ meters per second squared}"),
    (r"12\text{ m/s}", r"12\,\mathrm{m\,s^{-1}}"),
    (r"3\sqrt{5}\text{ cm}", r"3\sqrt{5}\text{ centimeters}"),
    (r"3\sqrt{5}\text{ cm}", r"3\sqrt{5}"),
    (r"288\pi", r"288\pi\text{ cm}^3"),
    (r"7\text{ red apples}", r"7 \text{ red apples}"),
    (r"30^\circ", r"30\text{ degrees}"),
    ("6,7", r"6\text{ or }7"),
    ("120_{121}", "120_{121}"),
    ("52_8", r"52_{8}"),
    ("42", "42_{10}"),
    ("x_1", "x_{1}"),
]

RIGHT_RESPONSES = [
    ("6,7", r"\boxed{6} \text{ or } \boxed{7}"),
    ("6,7", r"\boxed{6} \quad \text{and} \quad \boxed{7}"),
    (r"\frac{1}{2}", r"\boxed{\frac{1}{2}} or \boxed{0.5}"),
    (r"\frac{1}{2}", r"\boxed{\frac{1}{2}} or $0.5$"),
    ("7", r"\boxed{7}. Is there anything else I can help with?"),
    ("7", r"First \boxed{6}, then \boxed{7}."),
    ("7", r"\boxed{6}? No. \boxed{7}"),
    ("7", r"\boxed{7}, not surprisingly."),
    ("7", r"The answer is \boxed{7}, not 8."),
    ("7", r"\boxed{7} is the answer."),
    ("7", "The answer is 7 dollars that she makes over the week."),
]

CASES = [(kind, gold, answer) for kind, pairs in WRONG_BOXES.items() for gold, answer in pairs]


@pytest.mark.parametrize(("kind", "gold", "answer"), CASES)
def test_a_wrong_answer_in_a_box_earns_nothing(kind: str, gold: str, answer: str) -> None:
    verdict = verify_answer(gold, f"So \\boxed{{{answer}}}.")
    assert (verdict.score, verdict.status) == (0.0, Status.OK), (kind, verdict.detail)


@pytest.mark.parametrize(("gold", "response"), WRONG_RESPONSES)
def test_hedging_never_verifies(gold: str, response: str) -> None:
    verdict = verify_answer(gold, response)
    assert (verdict.score, verdict.status) == (0.0, Status.OK), verdict.detail


@pytest.mark.parametrize(("gold", "answer"), RIGHT_BOXES)
def test_the_right_look_alike_in_a_box_passes(gold: str, answer: str) -> None:
    verdict = verify_answer(gold, f"So \\boxed{{{answer}}}.")
    assert verdict.score == 1.0, verdict.detail


@pytest.mark.parametrize(("gold", "response"), RIGHT_RESPONSES)
def test_the_right_look_alike_passes(gold: str, response: str) -> None:
    verdict = verify_answer(gold, response)
    assert verdict.score == 1.0, verdict.detail
