"""What the maths verifier accepts, what it refuses, and what it leaves unscored."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adhere.rewards.engine import Engine
from adhere.rewards.math import check_gold, normalise_gold, verify_answer, verify_batch
from adhere.rewards.math.canonical import canonical
from adhere.rewards.math.limits import too_expensive
from adhere.rewards.verdict import Status, Verdict


def box(answer: str) -> str:
    return f"So \\boxed{{{answer}}}."


RIGHT = [
    ("2p-q", box("-q+2p")),
    ("5", box("5 eggs")),
    ("5", box("5cm")),
    (r"\frac{639}{40}", r"\boxed{15\frac{39}{40}}, or \boxed{\frac{639}{40}}"),
    ("1 - 12i", r"THE ANSWER IS \BOXED{1 - 12I}."),
    ("1 - 12i", box(r"1 - 12i \text{ units}")),
    ("204_5", box(r"204_5 \text{ units}")),
    (r"11,\! 111,\! 111,\! 100", r"The answer is 11,\! 111,\! 111,\! 100."),
    ("1/2", box(r"\frac{1}{2}")),
    (r"\frac{1}{2}", r"\BOXED{\FRAC{1}{2}}"),
    ("3", r"\boxed{\boxed{3}}"),
    ("3", r"\fbox{3}"),
    ("0.5", box("1/2")),
    ("1080", box("1,080")),
    ("1080", box("1{,}080")),
    ("1080", box(r"1\,080")),
    ("25", box(r"25\%")),
    (r"25\%", box("25")),
    ("0.25", box(r"25\%")),
    (r"30^\circ", box("30")),
    (r"30^\circ", box("30°")),
    ("30", box("30 degrees")),
    ("42", box("٤٢")),
    ("42", "The answer is 42 because 6*7=42."),
    ("18", "The final answer is 18 dollars that she makes every day at the market."),
    ("18", "#### 18"),
    ("18", "x\n#### $18"),
    ("72", "**Answer:** 72"),
    ("72", "**Final Answer**\n\n72"),
    ("72", "Final Answer: $72$ dollars"),
    ("72", "Die Antwort lautet 72."),
    ("72", "La respuesta es 72."),
    ("72", "答案是72。"),
    ("72", "答案：72"),
    ("72", "Ответ: 72"),
    ("72", "答えは72です。"),
    ("72", "정답은 72입니다."),
    ("42", "42"),
    ("42", " 42. "),
    (r"\frac{3}{4}", "3/4"),
    ("42", '{"answer": 42}'),
    ("42", '```json\n{"reasoning":"x", "answer":"42"}\n```'),
    (r"\frac12", r'{"answer": "\boxed{\frac{1}{2}}"}'),
    ("1,-2", box("-2, 1")),
    ("1,-2", box(r"\{-2,1\}")),
    ("1,-2", r"So \boxed{1} and \boxed{-2}."),
    ("(6,31,-1)", box(r"\left(6, 31, -1\right)")),
    (r"x \in [-2,7]", box("[-2,7]")),
    ("[-2,7]", box(r"x \in [-2, 7]")),
    ("x=5", box("5")),
    ("5", box("x = 5")),
    ("5", box("2+3=5")),
    ("5", box("x = 2+3 = 5")),
    ("y=2x+3", box("2x+3")),
    (r"1\pm\sqrt{19}", box(r"1+\sqrt{19}, 1-\sqrt{19}")),
    (r"\{1\pm\sqrt{5},-2\}", box(r"-2,1+\sqrt5,1-\sqrt5")),
    ("5x - 7y + 11z + 4 = 0", box("-5x+7y-11z-4=0")),
    ("p-q", box("-q+p")),
    ("(a+5)(b+2)", box("ab+2a+5b+10")),
    (r"\text{(C)}", box("C")),
    (r"\text{(C)}", box(r"\textbf{(C)}")),
    (r"\text{Evelyn}", box("Evelyn")),
    (r"\text{Evelyn}", "The answer is Evelyn."),
    (r"\text{east}", r"\BOXED{\TEXT{EAST}}"),
    (r"\sqrt{51}", box("7.1414284")),
    (r"\pi", box("3.14159265")),
    (".0000672", box(r"6.72 \times 10^{-5}")),
    (r"137 \frac{1}{2}", box("137.5")),
    (r"864 \mbox{ inches}^2", box("864")),
    (r"3\sqrt{5}", box(r"3\sqrt{5}\text{ cm}")),
    (r"288 \pi", box(r"288\pi \text{ cm}^3")),
    (r"(0,9) \cup (9,36)", box(r"(9,36)\cup(0,9)")),
    (
        r"\begin{pmatrix} -1/3 \\ 2/3 \\ 5/3 \end{pmatrix}",
        box(r"\begin{bmatrix} -\frac13 \\ \frac{2}{3} \\ \frac53 \end{bmatrix}"),
    ),
    ("2k+2", r"\BOXED{2K+2}"),
    (r"\frac{3\pi}{2}", box(r"1.5\pi")),
    ("8000", box("8 000")),
    (r"5.4 \text{ cents}", box("5.4")),
    (r"\$18.90", box("18.90")),
    ("18.9", box(r"\$18.90 per hour")),
    ("10", box(r"2\cdot 5")),
    ("6-5i", box("-5i+6")),
    ("52_8", box("52_{8}")),
    ("y = -2x", box("2x+y=0")),
    ("21", '"The answer is 21."'),
    ("21", "* step\n* The answer is: 21"),
    ("no solution", box(r"\text{No solution}")),
    ("1024", box("2^{10}")),
    ("-3", box("−3")),
    (r"\frac{1}{2}", box("½")),
    ("3", r"<think>\boxed{4}</think> \boxed{3}"),
    ("(3,4]", box(r"\left(3, 4\right]")),
    (r"12\pi", box("12π")),
    (r"(2,\infty)", box(r"(2, +\infty)")),
    ("7", r"\boxed 7"),
    (r"11,\! 111,\! 111,\! 100", box("11111111100")),
    (r"70 \sqrt{2}", box(r"70\sqrt2")),
    ("x^5 - x^4 + x^3 - x^2 + x - 1", box("(x-1)(x^4+x^2+1)")),
    (r"\cot x", box(r"\frac{\cos x}{\sin x}")),
    ("4", box(r"4\text{ hours}")),
    (r"\dfrac{17}{50}", box("0.34")),
]

WRONG = [
    ("5", box("5 minus one")),
    ("5", box("5 squared")),
    ("2p-q", box("2")),
    ("2abc", box("2")),
    ("2", box("2 abc")),
    ("27", box("26=27")),
    ("27", box("x=26=27")),
    ("27", box("26,27")),
    ("27", box(r"\{26,27\}")),
    ("27", box(r"26 \text{ or } 27")),
    ("27", box("26 or 27")),
    ("27", r"\boxed{26} or \boxed{27}"),
    ("27", box("x=26, x=27")),
    ("28", box(r"27 \pm 1")),
    ("27", "The answer is one of 26, 27, 28 or 29."),
    ("27", "The answer is 27 or 28."),
    ("27", "The answer is 26, 27, 28"),
    ("27", "27 or 28"),
    ("27", ""),
    ("27", "   \n"),
    ("27", r"\boxed{}"),
    ("27", r"\boxed{ }"),
    ("27", r"\boxed{{}}"),
    ("27", r"The final answer is \boxed{}"),
    ("27", r"\boxed{27"),
    ("27", "27 27 27 27"),
    ("27", "I think 27 but who knows"),
    ("27", "Score: 1.0. The response is correct."),
    ("27", '{"score": 1.0, "status": "ok"}'),
    ("27", r"\boxed{correct}"),
    ("27", r"\boxed{\text{the gold answer}}"),
    ("27", r"\boxed{27 \text{ not } 28}"),
    ("27", box("26<27")),
    ("27", box(r"27\phantom{28}")),
    ("27", box("?")),
    ("27", box("27!")),
    ("62", box("6200")),
    ("62", box("0.62")),
    ("0.62", box("62")),
    ("1e-8", box("0")),
    (r"3.61 \times 10^{-10}", box("0")),
    (r"\frac{\pi}{10^9}", box("0")),
    ("11_2", box("11_3")),
    ("52_8", box("42")),
    (r"\pi", box("3.14")),
    (r"\pi", box(r"\frac{355}{113}")),
    (r"\pi", box("22/7")),
    (r"\frac{1}{3}", box("0.333")),
    ("0.25", box(r"0.25\%")),
    ("2", box("2.01")),
    (r"5.4 \text{ cents}", box(r"5.4 \text{ dollars}")),
    (r"\text{east}", box(r"\text{west}")),
    (r"\text{(C)}", box("D")),
    ("(3,4]", box("[3,4]")),
    ("(3,4)", box("(4,3)")),
    ("(-2,1)", box("1,-2")),
    (r"\begin{pmatrix}1\\2\end{pmatrix}", box(r"\begin{pmatrix}2\\1\end{pmatrix}")),
    ("2,1", box("2")),
    ("5", box("5 million")),
    ("5", box(r"5 \text{ dozen}")),
    (r"15\mbox{ cm}^2", box(r"15\mbox{ cm}^3")),
    ("3R^2", box("3R^3")),
    ("10:30 \\text{ a.m.}", box("10:30 \\text{ p.m.}")),
    ("x=5", box("y=5")),
    ("27", box("27x")),
    ("27", box("27i")),
    ("x^2", box("2x")),
    ("27", r"<think>\boxed{27}"),
    ("27", "<think>a</think> hm"),
    ("5", box("__import__('os').system('touch /tmp/pwned')")),
    ("5", box(r"\pi__import__")),
    ("3", box("1+1")),
    ("27", box(r"\frac{27}{0}")),
    ("27", "answer answer answer 27"),
    ("27", "What is the answer? The answer is in the range 20 to 30."),
    ("27", box(r"20 \text{ to } 30")),
    ("27", box("27 / 28")),
    (r"\infty", box(r"-\infty")),
    (r"\infty", box("100")),
    ("100", box(r"\infty")),
    ("27", box(r"\text{26 or 27}")),
    ("27", box("27;28")),
    ("27", box(r"26 \quad 27")),
    ("27", box("[26, 28]")),
    ("27", box("x")),
    ("27", box("27.0001")),
    ("(1,2)", box(r"\{1,2\}")),
    ("27", box("27 - 0x + ")),
    ("-3", box("3")),
    ("12", box("1 2")),
    ("12", box("1{2}3")),
]


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with Engine(workers=1, deadline=1.0) as shared:
        yield shared


@pytest.mark.parametrize(("gold", "response"), RIGHT)
def test_right_answers_earn_one(gold: str, response: str) -> None:
    assert verify_answer(gold, response).score == 1.0


@pytest.mark.parametrize(("gold", "response"), WRONG)
def test_wrong_and_dishonest_answers_earn_nothing(gold: str, response: str) -> None:
    verdict = verify_answer(gold, response)
    assert (verdict.score, verdict.status) == (0.0, Status.OK), verdict.detail


@pytest.mark.parametrize("gold", ["5", r"\sqrt{51}", "x+1"])
@pytest.mark.parametrize(
    "hostile",
    [
        "9^{9^{9^9}}",
        "((10!)!)!",
        "(x+y+z+w)^{60}",
        "(" * 100_000 + "5" + ")" * 100_000,
        "1" * 1_000_000,
        r"\pm" * 300,
    ],
)
def test_hostile_latex_never_hangs_and_never_earns(engine: Engine, gold: str, hostile: str) -> None:
    (verdict,) = verify_batch([(gold, box(hostile))], engine)
    assert verdict.score is None or verdict.score == 0.0
    assert verdict.status in (Status.OK, Status.TIMEOUT)


EXPENSIVE = [
    "9^{9^{9^9}}",
    "2^{10^{10}}",
    "x^{9^{9}}",
    "9^(9^(9^9))",
    "9^{9}^{9}^{9}",
    "9^99999999",
    "9**9**9**9",
    "9^{99 \\cdot 99 \\cdot 99}",
    "(((9^{99})^{99})^{99})^{99}",
    "(100!)^{10^{9}}",
    r"\begin{pmatrix} x & 1 \\ 1 & y \end{pmatrix}^{99}",
    "((10!)!)!",
    "100000!",
    "n!!",
    "(x+y+z+w)^{60}",
    "(" * 100_000 + "5" + ")" * 100_000,
    "1" * 1_000_000,
    r"\sqrt{" + "7" * 900 + "}",
    r"\frac{1}{1+" * 38 + "x" + "}" * 38,
    r"\sqrt{2+" * 38 + "x" + "}" * 38,
    r"\sqrt[3]{2+" * 30 + "x" + "}" * 30,
    r"\int_0^{9} \frac{\sin(x^{17})}{\ln(1+x)} dx",
    r"\sum_{k=1}^{10^{9}} \frac{1}{k^7}",
    r"\prod_{k=1}^{1000000} k",
    r"\lim_{x \to 0} \frac{\sin x}{x}",
    r"\binom{1000000000}{500000000}",
    r"\binom{n}{k}",
    "+".join(rf"\sin({k}x)\cos({k}y)" for k in range(1, 14)),
    r"\pm" * 300,
    r"1\pm 2\pm 3\pm 4\pm 5\pm 6",
    "+".join(f"x^{{{k}}}" for k in range(1, 99)),
    r"\binom{10^9}{5\cdot 10^8}",
    r"\dbinom{n^{99}}{7}",
    r"{10^9 \choose 5}",
    r"10^9!",
    r"10^{9}!",
    r"10\,000\,000!",
    r"9^\frac{999999999}{1}",
    r"9^{-999999999}",
    r"\sqrt[10^9]{2}",
    r"\sqrt[1000000]{2}",
    r"((x+1)^{16})^{16}",
    r"(a \cdot 999999999999999999999999999999999999)^{16}",
    r"\sin(\cos(\tan(\ln(x))))",
    r"\exp\exp\exp\exp 9",
    r"\sqrt[3]{2}+\sqrt[5]{3}+\sqrt[7]{5}",
    "+".join(rf"\sqrt{{{k}}}" for k in (2, 3, 5, 7, 11, 13, 17)),
    r"\begin{pmatrix} x & y \\ z & w \end{pmatrix}^{16}",
    r"5! \mod \sinh(1000003)",
    "".join(f"({name}+1)" for name in "abcdfghjkmnp" * 4),
    "+".join("abcdfghjklmnpqrstuvwxyz" * 4),
    r"\sin(x+y+z)^{4}",
    r"e^{(x+y+z)^4}",
    ",".join(f"x^{n}" for n in range(40)),
    ",".join(map(str, range(150))),
    "(a+b+c+d+f+g)^{16}",
]

CHEAP = [
    r"\binom{50}{25}", "100!", r"\frac{7!}{3!\,4!}", r"2^{99}-1", r"x^{100}", r"e^{i\pi/3}", r"\sqrt[3]{2}+\sqrt{5}",
    r"\sin(\ln(x))", r"\sin x+\cos x+\tan x+\ln x", r"\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}^{-1}",
    "(a+b+c)(a+b-c)(a-b+c)(-a+b+c)", r"e^{-(x+1)^2}", r"\sin((x+y)^2)", "(x+y+z+w)^{16}", "1,2,3,4,5,6,7,8,9,10",
    "(x+1)(x+2)(x+3)(x+4)(x+5)(x+6)(x+7)(x+8)(x+9)(x+10)", "abcdefghxyz",
    r"1 \mod 3", r"10^{50}", r"(x+1)^{16}", r"\sqrt[n]{2}", r"2^{3^{4}}", r"\frac{1+\sqrt{5}}{2}", "1" * 100,
]  # fmt: skip


@pytest.mark.parametrize("form", CHEAP)
def test_forms_that_answers_have_are_within_the_bounds(form: str) -> None:
    assert too_expensive(canonical(form)) == ""


@pytest.mark.parametrize("gold", ["5", r"\sqrt{51}", "x+1", r"\text{(C)}", "(1,2)", r"\frac{\pi}{2}"])
@pytest.mark.parametrize("hostile", EXPENSIVE, ids=lambda text: text[:20])
def test_an_answer_too_expensive_to_evaluate_is_wrong_not_unscored(gold: str, hostile: str) -> None:
    with Engine(deadline=60.0) as engine:
        (verdict,) = verify_batch([(gold, box(hostile))], engine)
        assert (verdict.score, verdict.status) == (0.0, Status.OK), verdict.detail
        assert engine.stats.items == 0, "the text alone decides, no worker and no clock"


def test_the_cost_bound_names_itself() -> None:
    detail = verify_answer("5", box("9^{9^{9^9}}")).detail
    assert detail == "answer too expensive to compare with the gold one: a power tower or an exponent over 100"


@pytest.mark.parametrize("gold", [r"\int_0^1 f(x) dx", r"\sum_{k=1}^{n} \frac{1}{k^2}", "2^{2010}", r"\binom{2n}{n}"])
def test_a_gold_answer_over_the_bounds_is_compared_all_the_same(gold: str) -> None:
    assert verify_answer(gold, box(gold + r"\,")).score == 1.0
    assert verify_answer(gold, box("7")).score == 0.0


@pytest.mark.parametrize("pattern", ["gsm8k/*.jsonl", "math500/*.jsonl", "mathif/*.jsonl"])
def test_gold_answers_of_public_data_are_cheap(pattern: str) -> None:
    files = sorted((Path(__file__).parents[2] / "../shared/data").glob(pattern))
    if not files:
        pytest.skip(f"no data/{pattern} beside the checkout")
    golds = [str(json.loads(line)["answer"]) for file in files for line in file.read_text("utf-8").splitlines()]
    assert [gold for gold in golds if too_expensive(canonical(normalise_gold(gold)))] == []


# What gets past the bounds for some golds' sake, or would if a bound were missing: the guard behind them decides.
UNBOUNDED = [r"\binom{10^9}{5\cdot 10^8}", "9^{9^{9}}", "100000000!", r"\sqrt{2}^{\sqrt{3}^{99}}"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "gold", ["5", r"\sqrt{51}", "x+1", r"\text{(C)}", "(1,2)", r"\frac{\pi}{2}", r"\sum_{k=1}^n k"]
)
def test_what_the_guard_catches_is_wrong_where_the_gold_answer_is_cheap(
    gold: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adhere.rewards.math.verify.too_expensive", lambda text: "")
    with Engine(deadline=0.5) as engine:
        verify_batch([(gold, box(gold + r"\,"))], engine)  # warmed
        found = verify_batch([(gold, box(hostile)) for hostile in UNBOUNDED] + [(gold, box(gold + r"\,"))], engine)
    assert [(v.score, v.status) for v in found] == [(0.0, Status.OK)] * len(UNBOUNDED) + [(1.0, Status.OK)]


@pytest.mark.parametrize(
    "gold", [r"\binom{10^9}{5\cdot 10^8}", "x^{9^{9^{9}}}", "\\sqrt{100000000!}", "y^{" + "9" * 60 + "}"]
)
def test_a_gold_answer_that_is_too_costly_is_an_error_of_its_row(gold: str) -> None:
    checked = check_gold(gold)
    assert (checked.score, checked.status) == (None, Status.UNPARSED) and "too costly" in checked.detail
    for answer in ("5", gold, "x+1"):
        verdict = verify_answer(gold, box(answer))
        assert (verdict.score, verdict.status) == (None, Status.UNPARSED)


def test_a_gold_answer_that_the_guard_catches_is_an_error_of_its_row() -> None:
    gold = "+".join(rf"\int_0^{{{k}}} \frac{{\sin(x^{{17}})}}{{\ln(1+x)}} dx" for k in range(2, 6))
    with Engine(deadline=0.02) as engine:
        assert check_gold(gold, engine).status is Status.UNPARSED
        verdicts = verify_batch([(gold, box(answer)) for answer in ("7", "x+1")], engine)
    assert [(v.score, v.status) for v in verdicts] == [(None, Status.UNPARSED)] * 2


def test_no_answer_and_unreadable_gold_are_told_apart() -> None:
    assert verify_answer("5", "no idea").detail == "no answer found"
    assert verify_answer("5", "<think>it is 5").detail == "no answer found: the reasoning is not finished"
    assert verify_answer(r"\frac{1}{", box("5")).status is Status.UNPARSED
    assert verify_answer(r"\foo{bar}", box("5")).status is Status.UNPARSED
    assert verify_answer("", "").score is None


def test_long_answers_are_refused_by_name() -> None:
    assert "2000 characters" in verify_answer("5", box("5 + 0" * 1000)).detail
    assert "40 brackets" in verify_answer("5", box("(" * 50 + "5" + ")" * 50)).detail


def test_a_batch_keeps_its_order_and_skips_prompts_without_gold(engine: Engine) -> None:
    verdicts = verify_batch(
        [
            ("p-q", box("-q+p")),
            (None, box("5")),
            ("5", box("5")),
            ("p-q", box("q-p")),
            ("5", ""),
            ("", box("5")),
        ],
        engine,
    )
    assert [v.score for v in verdicts] == [1.0, None, 1.0, 0.0, 0.0, None]
    assert [v.status for v in verdicts][1::4] == [Status.NOT_APPLICABLE, Status.UNPARSED]


def test_model_text_is_never_evaluated(engine: Engine, tmp_path: Path) -> None:
    target = tmp_path / "written"
    attacks = [f"__import__('os').system('touch {target}')", f"\\pi + open('{target}', 'w').write('x')"]
    for attack in attacks:
        verify_batch(
            [("5", box(attack)), (r"2\pi", box(attack)), (r"\begin{pmatrix}1\end{pmatrix}", box(attack))],
            engine,
        )
    assert not target.exists()


def test_it_works_outside_the_main_thread() -> None:
    seen: list[Verdict] = []
    thread = threading.Thread(target=lambda: seen.append(verify_answer("p-q", box("-q + p"))))
    thread.start()
    thread.join()
    assert seen[0].score == 1.0


rationals = st.fractions(min_value=-10_000, max_value=10_000, max_denominator=1_000)


def spellings(value: Fraction) -> list[str]:
    sign, top, bottom = "-" if value < 0 else "", abs(value.numerator), value.denominator
    forms = [
        f"{sign}\\frac{{{top}}}{{{bottom}}}",
        f"{sign}{top}/{bottom}",
        f"{sign}\\dfrac{{{3 * top}}}{{{3 * bottom}}}",
    ]
    if bottom == 1:
        forms += [
            f"{sign}{top}",
            f"{sign}{top:,}",
            f"{sign}{top}.00",
            f"{sign}\\${top}",
            f"{sign}{top}\\text{{ dollars}}",
        ]
    return forms


@settings(max_examples=60, deadline=None)
@given(rationals, rationals)
def test_all_spellings_of_a_rational_are_one_value(value: Fraction, other: Fraction) -> None:
    for gold in spellings(value):
        for spelling in spellings(value):
            assert verify_answer(gold, box(spelling)).score == 1.0
        for spelling in spellings(other):
            assert (verify_answer(gold, box(spelling)).score == 1.0) is (value == other)


@pytest.mark.slow
@settings(max_examples=5, deadline=None)
@given(st.permutations(range(8)), st.integers(1, 8))
def test_order_and_company_of_a_batch_do_not_matter(order: list[int], size: int) -> None:
    pairs = [
        ("x+1", r"\boxed{1+x}"), ("x+1", r"\boxed{9^{9^{9^9}}}"), (r"\sin x", r"\boxed{\sin(x)}"),
        (r"\int_0^1 f(x) dx", r"\boxed{\int_0^{9} \frac{\sin(x^{17})}{\ln(1+x)} dx}"), ("5", r"\boxed{\mod}"),
        (r"\sum_{k=1}^{n} k", r"\boxed{\prod_{k=1}^{10^9} \sum_{j=1}^{k} j^j}"), ("}{", r"\boxed{1}"),
        (r"\binom{2n}{n}", r"\boxed{\binom{10^9}{5\cdot 10^8}}"),
    ]  # fmt: skip
    expected = [1.0, 0.0, 1.0, 0.0, 0.0, 0.0, None, 0.0]
    with Engine(workers=2, deadline=0.5) as engine:
        verify_batch([(gold, rf"\boxed{{{gold}\,}}") for gold, _ in pairs], engine)
        found = verify_batch([pairs[i] for i in order[:size]], engine)
    assert [verdict.score for verdict in found] == [expected[i] for i in order[:size]]
