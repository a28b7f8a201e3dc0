"""Right answers as models write them, class by class, each beside near misses that stay wrong."""

from __future__ import annotations

import pytest

from adhere.rewards.math import check_gold, verify_answer
from adhere.rewards.verdict import Status

# class: (pairs of gold answer and what stands in the box that are equal, pairs that are not)
BOXES: dict[str, tuple[list[tuple[str, str]], list[tuple[str, str]]]] = {
    "short words": (
        [
            ("yes", r"\text{Yes}"),
            (r"\text{Yes}", "yes"),
            (r"\text{Yes}", "Yes"),
            ("Yes", "yes"),
            (r"\text{odd}", "odd"),
            ("odd", r"\text{odd}"),
            (r"\text{Tom}", "Tom"),
            ("Tom", r"\textbf{Tom}"),
            (r"\text{ABC}", "ABC"),
            ("ABC", r"\mathrm{ABC}"),
            ("no", r"\text{No}"),
            (r"\text{Al}", "Al"),
        ],
        [
            ("yes", r"\text{No}"),
            (r"\text{Yes}", "no"),
            (r"\text{odd}", "even"),
            (r"\text{Tom}", "Tim"),
            (r"\text{ABC}", "CBA"),
            ("ABC", "ACB"),
            ("ABC", r"\text{CBA}"),
            (r"\text{yes}", r"\text{not yes}"),
            ("odd", r"\text{odd or even}"),
            (r"\text{Al}", "Ed"),
        ],
    ),
    "lists joined by words": (
        [
            ("1,2,3", "1, 2, and 3"),
            ("1,2,3", r"1, 2, \text{ and } 3"),
            ("1,2,3", r"1,\ 2,\ \text{and}\ 3"),
            ("1,2", r"1 \quad \text{and} \quad 2"),
            ("1,2", r"1 \text{ und } 2"),
            ("1,2", r"1 \text{ y } 2"),
            ("1,2", r"1 \text{ et } 2"),
            ("1,2", r"1 \text{ и } 2"),
            ("1,2", "1和2"),
            ("1,2", r"1 \text{ and/or } 2"),
            ("1,2", "2 or 1"),
            (r"\sqrt{2},-\sqrt{2}", r"\sqrt{2} \text{ oder } -\sqrt{2}"),
        ],
        [
            ("1,2,3", "1, 2, and 4"),
            ("1,2,3", "1 and 2"),
            ("1,2", r"1 \text{ y } 3"),
            ("2", r"1 \text{ et } 2"),
            ("2", "1和2"),
            ("2", r"1, \text{ and } 2"),
            ("12", r"1 \text{ und } 2"),
        ],
    ),
    "arrays": (
        [
            (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", r"\left(\begin{array}{cc}1&2\\3&4\end{array}\right)"),
            (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", r"\left[\begin{array}{rr}1&2\\[4pt]3&4\end{array}\right]"),
            (r"\left(\begin{array}{cc}1&2\\3&4\end{array}\right)", r"\begin{bmatrix}1&2\\3&4\end{bmatrix}"),
            (r"\begin{pmatrix}1\\2\end{pmatrix}", r"\left( \begin{array}{c} 1 \\ 2 \end{array} \right)"),
            (r"\begin{pmatrix}1\\2\end{pmatrix}", r"\left[\begin{matrix}1\\2\end{matrix}\right]"),
            (r"\begin{pmatrix}1\\2\end{pmatrix}", r"\left(\begin{smallmatrix}1\\2\end{smallmatrix}\right)"),
            (r"\begin{pmatrix}1/2\\2\end{pmatrix}", r"\left(\begin{array}{c}0.5\\2\end{array}\right)"),
        ],
        [
            (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", r"\left(\begin{array}{cc}1&3\\2&4\end{array}\right)"),
            (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", r"\left|\begin{array}{cc}1&2\\3&4\end{array}\right|"),
            (r"\begin{pmatrix}1\\2\end{pmatrix}", r"\left(\begin{array}{cc}1&2\end{array}\right)"),
            (r"\begin{pmatrix}1\\2\end{pmatrix}", r"\left\{\begin{array}{c}1\\2\end{array}\right."),
            (r"-2", r"\begin{pmatrix}1&2\\3&4\end{pmatrix}"),
            (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", r"2\left(\begin{array}{cc}1&2\\3&4\end{array}\right)"),
        ],
    ),
    "upright constants": (
        [
            ("e^2", r"\mathrm{e}^2"),
            (r"\mathrm{e}^2", "e^2"),
            ("1+2i", r"1+2\mathrm{i}"),
            (r"1+2\mathrm{i}", "1+2i"),
            (r"2\pi", r"2\mathrm{π}"),
            (r"2\mathrm{π}", r"2\pi"),
            (r"\mathrm{e}", "e"),
            (r"\sin x", r"\operatorname{sin} x"),
            (r"3+4\text{i}", "3+4i"),
        ],
        [
            ("e^2", r"\mathrm{e}^3"),
            ("1+2i", r"1-2\mathrm{i}"),
            (r"2\pi", r"3\mathrm{π}"),
            ("2", r"2\mathrm{e}"),
            (r"\sin x", r"\operatorname{cos} x"),
            ("e", r"\mathrm{i}"),
        ],
    ),
    "imaginary unit": (
        [
            ("-4", "(1+i)^4"),
            ("(1+i)^4", "-4"),
            ("1+i", r"\frac{2}{1-i}"),
            (r"\frac{2}{1-i}", "i+1"),
            (r"\frac{1}{2}+\frac{\sqrt{3}}{2}i", r"e^{i\pi/3}"),
            (r"e^{i\pi/3}", r"\frac{1+i\sqrt{3}}{2}"),
            ("-1", "i^2"),
            ("-1", r"e^{i\pi}"),
            ("2i", r"\sqrt{-4}"),
            ("5+0i", "5"),
            ("-i", r"\frac{1}{i}"),
        ],
        [
            ("-4", "(1-i)^3"),
            ("4", "(1+i)^4"),
            ("1+i", r"\frac{2}{1+i}"),
            (r"\frac{1}{2}+\frac{\sqrt{3}}{2}i", r"e^{-i\pi/3}"),
            (r"e^{i\pi/3}", r"\frac{\sqrt{3}+i}{2}"),
            ("1", "i^2"),
            ("2", r"\sqrt{-4}"),
            ("x^2+1", "0"),
        ],
    ),
    "degrees in functions": (
        [
            (r"\sin 15^\circ", r"\frac{\sqrt{6}-\sqrt{2}}{4}"),
            (r"\frac{\sqrt{6}-\sqrt{2}}{4}", r"\sin 15^\circ"),
            (r"\frac{1}{2}", r"\sin 30^\circ"),
            (r"\frac{1}{2}", r"\cos(60^\circ)"),
            (r"\cos 75^{\circ}", r"\sin(15°)"),
            ("1", r"\tan 45^\circ"),
            (r"\frac{1}{4}", r"\sin^2 30^\circ"),
        ],
        [
            (r"\sin 15^\circ", r"\sin 15"),
            (r"\sin 15", r"\sin 15^\circ"),
            (r"\sin 15^\circ", r"\frac{\sqrt{6}+\sqrt{2}}{4}"),
            (r"\frac{1}{2}", r"\cos 30^\circ"),
            (r"\frac{1}{2}", r"\sin 30"),
            ("15", r"\sin 15^\circ"),
        ],
    ),
    "multiple choice": (
        [
            ("C", r"\textbf{(C)}\ 12"),
            ("C", r"\textbf{(C) } 12"),
            ("C", "(C)"),
            ("C", "C: 12"),
            ("C", "C. 12"),
            ("C", "C) 12"),
            (r"\text{(C)}", r"\text{C}"),
            ("(C)", r"\mathrm{(C)}\ 12"),
            ("12", r"\textbf{(C)}\ 12"),
            (r"\textbf{(C)}\ 12", "C"),
            (r"\textbf{(C)}\ 12", "12"),
            ("C", r"\text{(C) } 12 \text{ apples}"),
        ],
        [
            ("D", r"\textbf{(C)}\ 12"),
            ("D", "C: 12"),
            ("C", r"\textbf{(C)} \text{ or } \textbf{(D)}"),
            ("C", "C + 12"),
            ("C", "12"),
            ("13", r"\textbf{(C)}\ 12"),
            (r"\textbf{(C)}\ 12", r"\textbf{(D)}\ 12"),
            (r"\textbf{(C)}\ 12", r"\textbf{(C)}\ 13"),
            ("C", r"\textbf{(B)}\ C"),
            ("C", "(B) (C)"),
            ("C", "C: 12, D: 13"),
        ],
    ),
    "inequalities and intervals": (
        [
            ("(1,3)", "1<x<3"),
            ("1<x<3", "(1,3)"),
            ("1<x<3", "3>x>1"),
            ("1<x<3", r"x\in(1,3)"),
            ("x>1", r"(1,\infty)"),
            (r"(1,\infty)", "x>1"),
            (r"(-\infty,2]", r"x \leq 2"),
            (r"[1,3)", r"1 \le x < 3"),
            ("x>1", "1<x"),
            (r"(-\infty,1)\cup(3,\infty)", r"x<1 \text{ or } x>3"),
            (r"x<1 \text{ or } x>3", r"(3,\infty)\cup(-\infty,1)"),
            ("1<x<3", "x>1 and x<3"),
            (r"(-\infty,2)\cup(2,\infty)", r"x \ne 2"),
            (r"-\sqrt{2}<x<\sqrt{2}", r"(-\sqrt{2},\sqrt{2})"),
            (r"[\frac{1}{2},1]", r"0.5 \le a \le 1"),
        ],
        [
            ("(1,3)", r"1 \le x<3"),
            ("1<x<3", "[1,3]"),
            ("1<x<3", "3<x<1"),
            ("1<x<3", "1<y<3"),
            ("x>1", r"(-\infty,1)"),
            ("x>1", r"[1,\infty)"),
            ("x>1", "x<1"),
            ("1<x<3", "x>1 or x<3"),
            (r"(-\infty,1)\cup(3,\infty)", "x<1 and x>3"),
            (r"(-\infty,1)\cup(3,\infty)", "1<x<3"),
            (r"\{1,3\}", "1<x<3"),
            ("1<x<3", "1"),
            ("3", "x>3"),
            ("2", r"x \ne 2"),
        ],
    ),
    "values by name": (
        [
            ("(5,2)", "p=5, q=2"),
            ("(p,q)=(5,2)", "p=5, q=2"),
            ("p=5, q=2", "(p,q)=(5,2)"),
            ("p=5, q=2", "q=2, p=5"),
            ("p=5,q=2", "(5,2)"),
            ("(5,2)", "q=2, p=5"),
            ("(5,2)", r"p=5 \text{ and } q=2"),
            ("(1,2,3)", "a=1,b=2,c=3"),
            ("(5,2)", "(x,y)=(5,2)"),
        ],
        [
            ("(5,2)", "p=2, q=5"),
            ("(2,5)", "q=2, p=5"),
            ("p=5, q=2", "p=2, q=5"),
            ("p=5, q=2", "x=5, y=2"),
            ("p=5,q=2", "(2,5)"),
            ("(p,q)=(5,2)", "(q,p)=(5,2)"),
            ("(5,2)", "p=5"),
            ("5", "p=5, q=2"),
        ],
    ),
    "wrappers": (
        [
            ("7", r"\color{red}7"),
            ("7", r"\color{red}{7}"),
            ("7", r"{\color{blue} 7}"),
            ("7", r"\textcolor{blue}{7}"),
            ("7", r"\underline{7}"),
            ("7", r"\textnormal{7}"),
            ("7", "<answer>7</answer>"),
            ("7", r"\text{The answer is }7"),
            ("7", r"\text{The answer is 7}"),
            ("7", "The answer is 7"),
            ("7", r"\boldsymbol{7}"),
            (r"\frac{1}{2}", r"\textcolor{red}{\frac{1}{2}}"),
            ("7", r"\text{Answer: } 7"),
            ("2^{10}", r"2^{\textcolor{red}{10}}"),
        ],
        [
            ("7", r"\color{red}{8}"),
            ("7", r"\cancel{7}"),
            ("7", r"\phantom{7}"),
            ("7", r"\xcancel{7}"),
            ("7", r"\text{The answer is not }7"),
            ("7", "The answer is 8"),
            ("8", r"\text{The answer is 7, not 8}"),
            ("7", r"\textcolor{7}{8}"),
            ("20", r"2^{\textcolor{red}{10}}"),
        ],
    ),
    "unicode maths": (
        [
            (r"\sqrt{5}", "√5"),
            (r"2\sqrt{3}", "2√3"),
            (r"\frac{2}{3}", "⅔"),
            (r"\frac{5}{3}", "1⅔"),
            ("x^2", "x²"),
            ("x^{12}", "x¹²"),
            ("52_8", "52₈"),
            (r"\sqrt{x+1}", "√(x+1)"),
            (r"\frac{7}{8}", "⅞"),
            ("10^{-5}", "10⁻⁵"),
            ("x_1", "x₁"),
        ],
        [
            (r"\sqrt{5}", "√6"),
            (r"\sqrt{23}", "√2·3"),
            (r"\frac{2}{3}", "⅓"),
            ("x^2", "x³"),
            ("2x", "x²"),
            ("52_8", "52₉"),
            ("13", "1⅓"),
            ("528", "52₈"),
        ],
    ),
    "repeating decimals": (
        [
            (r"\frac{1}{3}", r"0.\dot3"),
            (r"\frac{1}{3}", r"0.\dot{3}"),
            (r"\frac{1}{6}", r"0.1\overline{6}"),
            (r"0.1\overline{6}", r"\frac{1}{6}"),
            (r"\frac{41}{333}", r"0.\dot{1}2\dot{3}"),
            (r"\frac{1}{3}", r"0.\overline3"),
            (r"\frac{1}{3}", r"0.\bar{3}"),
            (r"\frac{4}{3}", r"1.(3)"),
            (r"33.\overline{3}\%", r"33\frac{1}{3}\%"),
        ],
        [
            (r"\frac{1}{3}", r"0.\dot4"),
            (r"\frac{1}{3}", "0.3"),
            (r"\frac{1}{6}", r"0.\overline{16}"),
            (r"\frac{1}{6}", "0.16"),
            ("0.3", r"0.\dot3"),
            (r"\frac{41}{333}", r"0.12\dot{3}"),
        ],
    ),
    "reversed assignments": (
        [
            ("3", "3=x"),
            ("x=3", "3=x"),
            ("3=x", "x=3"),
            ("-3", "-3 = x"),
            (r"\frac{1}{2}", r"\frac{1}{2} = y"),
            (r"\sqrt{2}", r"\sqrt{2}=x"),
        ],
        [
            ("3", "4=x"),
            ("x=3", "3=y"),
            ("3", "3=4"),
            ("3=x", "x=4"),
            ("3", "3=2x"),
            ("x", "3=x"),
        ],
    ),
    "approximations of decimal golds": (
        [
            ("3.16", r"\approx 3.16"),
            ("3.16", r"x \approx 3.16"),
            ("3.16", r"\sqrt{10} \approx 3.16"),
            (r"\sqrt{10}", r"\sqrt{10} \approx 3.16"),
            ("3.16", "≈ 3.16"),
            ("3.16", r"x = \sqrt{10} \approx 3.16"),
            (r"\frac{1}{3}", r"\frac{1}{3} \approx 0.33"),
            (r"\pi", r"\approx 3.14159265"),
        ],
        [
            ("3.16", r"\approx 3.17"),
            ("3.17", r"\sqrt{10} \approx 3.17"),
            ("3.16", r"\sqrt{11} \approx 3.16"),
            (r"\sqrt{10}", r"\approx 3.16"),
            ("7", r"\approx 7"),
            (r"\sqrt{10}", r"\sqrt{11} \approx 3.16"),
            (r"\frac{1}{3}", r"\approx 0.33"),
        ],
    ),
    "decimals": (
        [
            (r"\sqrt{51}", "7.1414284"),
            (r"\sqrt{51}", "7.14143"),
            (r"\sqrt{51}", "7.14142"),
            (r"\pi", "3.14159"),
            (r"\pi", "3.141592653589793"),
            (r"\frac{1}{3}", "0.333333"),
            (r"\frac{2}{3}", "0.666667"),
            (r"\frac{2}{3}", "0.666666"),
            ("0.333333", r"\frac{1}{3}"),
            ("3.14159", r"\pi"),
            (r"-\frac{1}{7}", "-0.142857"),
            (r"\frac{1}{8}", "0.125"),
        ],
        [
            (r"\sqrt{51}", "7.1414"),
            (r"\sqrt{51}", "7.1414285"),
            (r"\sqrt{51}", "7.14144"),
            (r"\pi", "3.1416"),
            (r"\pi", "3.14160"),
            (r"\pi", "3.1415927001"),
            (r"\frac{1}{3}", "0.33333"),
            (r"\frac{1}{3}", "0.333334"),
            (r"\frac{2}{3}", "0.666668"),
            ("0.333", r"\frac{1}{3}"),
            ("2", "1.999999"),
            ("2", "2.000001"),
            (r"\frac{1}{3}", "0.000000"),
            ("0.333333", "0.3333333"),
            (r"\frac{1}{7}", "-0.142857"),
        ],
    ),
    "factorials, binomials, sums": (
        [
            (r"\binom{n}{k}", r"\frac{n!}{k!(n-k)!}"),
            (r"\frac{n!}{k!(n-k)!}", r"\binom{n}{k}"),
            (r"\binom{2n}{n}", r"\frac{(2n)!}{(n!)^2}"),
            (r"\binom{n}{k}", r"\dbinom{n}{n-k}"),
            (r"\binom{n}{k}", r"{n \choose k}"),
            ("(n+1)!", r"(n+1) n!"),
            (r"n(n-1)", r"\frac{n!}{(n-2)!}"),
            (r"\frac{n(n-1)}{2}", r"\binom{n}{2}"),
            ("10", r"\binom{5}{2}"),
            ("55", r"\sum_{k=1}^{10} k"),
            ("385", r"\sum_{k=1}^{10} k^2"),
            ("120", r"\prod_{k=1}^{5} k"),
            (r"\sum_{k=1}^{n} k^2", r"\sum_{j=1}^{n} j^2"),
            (r"\frac{n(n+1)}{2}", r"\sum_{k=1}^{n} k"),
            (r"\sum_{k=1}^{n} k^2", r"\frac{n(n+1)(2n+1)}{6}"),
            ("n^2", r"\sum_{k=0}^{n-1} (2k+1)"),
            ("n!", r"\prod_{k=1}^{n} k"),
        ],
        [
            (r"\binom{n}{k}", r"\frac{n!}{(n-k)!}"),
            (r"\binom{n}{k}", r"\binom{k}{n}"),
            (r"\binom{2n}{n}", r"\frac{(2n)!}{n!}"),
            ("(n+1)!", "n! + 1"),
            (r"\frac{n(n-1)}{2}", r"\binom{n+1}{2}"),
            ("10", r"\binom{5}{1}"),
            ("55", r"\sum_{k=1}^{9} k"),
            (r"\sum_{k=1}^{n} k^2", r"\sum_{k=0}^{n-1} k^2"),
            (r"\binom{n}{k}", r"\frac{n}{k}"),
            (r"\frac{n(n-1)}{2}", r"\sum_{k=1}^{n} k"),
            ("n", r"\sum_{k=0}^{n} 1"),
            ("2n!", r"\prod_{k=1}^{n} k"),
        ],
    ),
    "families of solutions": (
        [
            (r"\frac{\pi}{4}+k\pi", r"\frac{\pi}{4}+n\pi"),
            (r"\frac{\pi}{4}+k\pi", r"\frac{\pi}{4}+n\pi, n \in \mathbb{Z}"),
            (r"\frac{\pi}{4}+k\pi, k\in\mathbb{Z}", r"\frac{\pi}{4}+m\pi"),
            (r"\frac{\pi}{4}+k\pi", r"\frac{5\pi}{4}+k\pi"),
            (r"\frac{\pi}{4}+k\pi", r"x = \frac{\pi}{4} - n\pi"),
            (r"2k+1, k \in \mathbb{Z}", "2n+1"),
            (r"2k\pi", r"2\pi n \text{ where } n \text{ is an integer}"),
        ],
        [
            (r"\frac{\pi}{4}+k\pi", r"\frac{\pi}{4}+2n\pi"),
            (r"\frac{\pi}{4}+k\pi", r"\frac{\pi}{3}+n\pi"),
            (r"\frac{\pi}{4}+k\pi", r"\frac{\pi}{4}"),
            ("2k+1", "2n+1"),
            (r"2k+1, k \in \mathbb{Z}", "2n"),
            (r"\frac{\pi}{4}+2k\pi", r"\frac{5\pi}{4}+2k\pi"),
        ],
    ),
    "bases": (
        [
            ("2516_8", r"\text{2516}_8"),
            (r"\text{2516}_8", "2516_8"),
            ("2516_8", r"2516_{\text{eight}}"),
            ("2516_8", r"2516_{\text{base }8}"),
            ("2516_8", "(2516)_8"),
            ("2516_8", r"2516 \text{ base } 8"),
            ("2516_8", r"2516_{(8)}"),
        ],
        [
            ("2516_8", r"\text{2516}_9"),
            ("2516_8", r"2516_{\text{nine}}"),
            ("2516_8", r"\text{2517}_8"),
            ("2516_8", "1358"),
            ("2516_8", r"2516 \text{ base } 9"),
            ("25168", r"\text{2516}_8"),
        ],
    ),
}

RIGHT_RESPONSES = [
    ("1,2", r"\boxed{1} \quad \text{and} \quad \boxed{2}"),
    ("1,2", r"\boxed{1}\quad\boxed{2}"),
    ("1,2", r"\boxed{1}\;\boxed{2}"),
    ("1,2", r"$\boxed{1}$, and $\boxed{2}$"),
    ("1,2,3", r"\boxed{1}, \boxed{2}, and \boxed{3}"),
    ("1,2", r"\boxed{1} y \boxed{2}"),
    ("1,2", r"\boxed{1} et \boxed{2}"),
    ("34", "Final Answer: The largest $n$ is 34."),
    ("34", "**Final Answer:** The smallest such integer is $34$."),
    ("34", "Final Answer: the number of ways is 34"),
    ("34", "The final answer is: The value of $x$ is 34."),
    ("34", "<answer>34</answer>"),
    ("34", r"<answer>\boxed{34}</answer>"),
    ("34", "We add.\n<answer> $34$ </answer>"),
    ("7", r"\boxed{\text{The answer is }7}"),
]

WRONG_RESPONSES = [
    ("2", r"\boxed{1} \quad \text{and} \quad \boxed{2}"),
    ("2", r"\boxed{1} \quad \text{or} \quad \boxed{2}"),
    ("1,3", r"\boxed{1}\quad\boxed{2}"),
    ("34", "Final Answer: The largest $n$ is not 34."),
    ("34", "Final Answer: The largest $n$ is at most 34."),
    ("34", "Final Answer: The largest $n$ is 34 or 35."),
    ("34", "Final Answer: The largest $n$ is 35."),
    ("34", "The largest $n$ is 34."),
    ("34", "<answer>We find 34 of them</answer>"),
    ("34", "<answer>33 or 34</answer>"),
]

EQUAL = [(kind, *pair) for kind, (right, _) in BOXES.items() for pair in right]
UNEQUAL = [(kind, *pair) for kind, (_, wrong) in BOXES.items() for pair in wrong]


@pytest.mark.parametrize(("kind", "gold", "answer"), EQUAL)
def test_a_right_answer_in_a_box_passes(kind: str, gold: str, answer: str) -> None:
    verdict = verify_answer(gold, f"So \\boxed{{{answer}}}.")
    assert verdict.score == 1.0, (kind, verdict.detail)


@pytest.mark.parametrize(("kind", "gold", "answer"), UNEQUAL)
def test_a_near_miss_in_a_box_earns_nothing(kind: str, gold: str, answer: str) -> None:
    verdict = verify_answer(gold, f"So \\boxed{{{answer}}}.")
    assert (verdict.score, verdict.status) == (0.0, Status.OK), (kind, verdict.detail)


@pytest.mark.parametrize(("gold", "response"), RIGHT_RESPONSES)
def test_a_right_response_passes(gold: str, response: str) -> None:
    verdict = verify_answer(gold, response)
    assert verdict.score == 1.0, verdict.detail


@pytest.mark.parametrize(("gold", "response"), WRONG_RESPONSES)
def test_a_near_miss_of_a_response_earns_nothing(gold: str, response: str) -> None:
    verdict = verify_answer(gold, response)
    assert (verdict.score, verdict.status) == (0.0, Status.OK), verdict.detail


@pytest.mark.parametrize("gold", sorted({gold for _, gold, _ in EQUAL}))
def test_these_gold_answers_can_be_verified(gold: str) -> None:
    assert check_gold(gold).passed
