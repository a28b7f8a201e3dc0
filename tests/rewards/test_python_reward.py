"""Rewards in Python: a user's function in a process of its own, well behaved and hostile."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from adhere.rewards import Context, Rollout, Status, Verdict
from adhere.rewards.checklist import parse_checklist
from adhere.rewards.components import PythonComponent
from adhere.rewards.composite import Composite
from adhere.rewards.config import RewardConfig
from adhere.rewards.engine import Engine
from adhere.rewards.errors import ConfigError
from adhere.rewards.process import FunctionProcess, check_function

LAB = '''
import asyncio
import itertools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from adhere.rewards import Rollout, Status, Verdict

NOT_A_FUNCTION = 6


def words(rollouts, most=2):
    return [float(len(r.response.split()) <= most) for r in rollouts]


def sees(rollouts):
    r = rollouts[0]
    whole = isinstance(r, Rollout) and (r.id, r.source, r.prompt, r.answer, r.tokens, r.finished, r.prefilled)
    parts = (r.segments.reasoning, r.segments.answer, [(q.id, q.text, q.weight) for q in r.checklist])
    return [Verdict(1.0, detail=repr((whole, parts)))] * len(rollouts)


async def awaited(rollouts):
    await asyncio.sleep(0)
    return [0.5 for _ in rollouts]


class Once:
    """Made once: the second call knows of the first."""

    def __init__(self, start):
        self.calls = start

    def __call__(self, rollouts):
        self.calls += 1
        return [self.calls / 10] * len(rollouts)


class Silent:
    pass


def generator(rollouts):
    for _ in rollouts:
        yield 0.5


def endless(rollouts):
    return itertools.repeat(0.5)


def numpy_floats(rollouts):
    return np.full(len(rollouts), 0.5, dtype=np.float32)


def bools(rollouts):
    return [np.bool_(True)] + [False] * (len(rollouts) - 1)


def nothing(rollouts):
    return [None] * len(rollouts)


def own_verdicts(rollouts):
    part = Verdict(0.0, detail="part")
    return [Verdict(0.25, detail="mine", parts=(part,)), *[Verdict(None, Status.NOT_APPLICABLE)] * (len(rollouts) - 1)]


def strings(rollouts):
    return ["1.0"] * len(rollouts)


def one_string(rollouts):
    return "1" * len(rollouts)


def too_few(rollouts):
    return [1.0] * (len(rollouts) - 1)


def not_a_list(rollouts):
    return 1.0


def nan(rollouts):
    return [float("nan")] * len(rollouts)


def too_high(rollouts):
    return [3.0] * len(rollouts)


def vectors(rollouts):
    return [np.zeros(2)] * len(rollouts)


def coroutines(rollouts):
    return [asyncio.sleep(0) for _ in rollouts]


def raises_on_c(rollouts):
    return [1 / (r.response != "c") for r in rollouts]


def leaves(rollouts):
    if any(r.response == "c" for r in rollouts):
        sys.exit("bye")
    return [1.0] * len(rollouts)


def sleeps(rollouts):
    if any(r.response == "c" for r in rollouts):
        time.sleep(600)
    return [1.0] * len(rollouts)


def slow(rollouts):
    time.sleep(sum(1.8 if r.response == "c" else 0.5 for r in rollouts) + (2.0 if len(rollouts) > 1 else 0.0))
    return [1.0] * len(rollouts)


def fails_on_a_prompt(rollouts):
    if any(r.prompt == "broken" or r.response == "c" for r in rollouts):
        raise LookupError("no such row")
    return [1.0] * len(rollouts)


def declines(rollouts):
    return [Verdict(None, Status.ERROR, "mine") if r.response == "c" else 1.0 for r in rollouts]


def nan_on_c(rollouts):
    return [float("nan") if r.response == "c" else 1.0 for r in rollouts]


def starts_sleeper(rollouts):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    Path("sleeper").write_text(str(child.pid))
    time.sleep(600)


def crashes(rollouts):
    if any(r.response == "c" for r in rollouts):
        os.kill(os.getpid(), signal.SIGSEGV)
    return [1.0] * len(rollouts)


def exits(rollouts):
    if any(r.response == "c" for r in rollouts):
        os._exit(0)
    return [1.0] * len(rollouts)


def forks(rollouts):
    os.fork()
    return [1.0 if os.getpid() else 0.0 for _ in rollouts]


def prints(rollouts):
    print('{"rows": [0, 0, 0]}', flush=True)
    os.write(1, b"raw bytes")
    os.write(2, b"more of them")
    return [0.5] * len(rollouts)


def closes_stdout(rollouts):
    sys.stdout.close()
    return [0.5] * len(rollouts)


def mutates(rollouts):
    rollouts[0].checklist and None
    rollouts.clear()
    raise RuntimeError("the list is empty now")


def remembers(rollouts, seen=[]):
    seen.append(len(rollouts))
    if len(seen) > 1:
        return [9.0] * len(rollouts)
    return [1.0] * len(rollouts)
'''


def ends(pid: int) -> bool:
    """Whether a process that was killed is gone, or only waits to be buried, within ten seconds."""
    status = Path(f"/proc/{pid}/stat")
    for _ in range(100):
        if not status.exists() or status.read_text().rpartition(")")[2].split()[0] == "Z":
            return True
        time.sleep(0.1)
    return False


@pytest.fixture(scope="module", autouse=True)
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder outside the repository that holds ``my_lab/rewards.py`` and a file that must not shadow numpy."""
    folder = tmp_path_factory.mktemp("lab")
    (folder / "my_lab").mkdir()
    (folder / "my_lab" / "rewards.py").write_text(LAB)
    (folder / "my_lab" / "broken.py").write_text("1 / 0")
    (folder / "my_lab" / "lacks.py").write_text("import no_such_library_at_all")
    (folder / "my_lab" / "ends.py").write_text("import os; os._exit(3)")
    (folder / "numpy.py").write_text("raise RuntimeError('the working folder shadows numpy')")
    before = Path.cwd()
    os.chdir(folder)
    yield folder
    os.chdir(before)


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with Engine() as shared:
        yield shared


ABC = [Rollout("q", text, "4") for text in "abc"]


@pytest.fixture
def score(engine: Engine) -> Iterator[Callable[..., list[Verdict]]]:
    """Score three rollouts, or others, by a function of the lab; several calls share its process."""
    open_ones: dict[str, tuple[PythonComponent, FunctionProcess]] = {}

    def scored(function: str, rollouts: list[Rollout] = ABC, **keys: Any) -> list[Verdict]:
        if function not in open_ones:
            component = PythonComponent(function=f"my_lab.rewards:{function}", **{"timeout": 20.0, **keys})
            open_ones[function] = component, component.open("mine")
        component, process = open_ones[function]
        return component.score(rollouts, Context(engine, name="mine", resource=process))

    yield scored
    for _, process in open_ones.values():
        process.close()


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        ("awaited", [0.5, 0.5, 0.5]),
        ("generator", [0.5, 0.5, 0.5]),
        ("numpy_floats", [0.5, 0.5, 0.5]),
        ("bools", [1.0, 0.0, 0.0]),
        ("nothing", [None, None, None]),
        ("own_verdicts", [0.25, None, None]),
        ("forks", [1.0, 1.0, 1.0]),
        ("prints", [0.5, 0.5, 0.5]),
        ("closes_stdout", [0.5, 0.5, 0.5]),
    ],
)
def test_values_arrive_in_order_batch_after_batch(
    function: str, expected: list[float | None], score: Callable[..., list[Verdict]]
) -> None:
    for _ in range(2):
        verdicts = score(function)
        assert [verdict.score for verdict in verdicts] == expected
        assert {v.status for v in verdicts if v.score is None} <= {Status.NOT_APPLICABLE}
    if function == "own_verdicts":
        assert verdicts[0].detail == "mine" and verdicts[0].parts == (Verdict(0.0, detail="part"),)


def test_the_function_sees_the_whole_rollout_and_its_parameters(score: Callable[..., list[Verdict]]) -> None:
    rule = {"type": "rule", "constraint": "punctuation:no_comma", "kwargs": {}}
    checklist = parse_checklist([{"id": "c", "text": "No comma.", "weight": 30, "check": rule}], "here")
    rollout = Rollout("q", "<think>hm</think>four", "4", checklist, False, 12, False, "gsm8k-7", "gsm8k")
    (verdict,) = score("sees", [rollout])
    expected = (("gsm8k-7", "gsm8k", "q", "4", 12, False, False), ("hm", "four", [("c", "No comma.", 30.0)]))
    assert verdict.detail == repr(expected)
    assert [v.score for v in score("words", [Rollout("q", "a b c", None), *ABC], params={"most": 2})] == [0, 1, 1, 1]


def test_a_class_is_made_once(score: Callable[..., list[Verdict]]) -> None:
    assert [score("Once", params={"start": 2})[0].score for _ in range(3)] == [0.3, 0.4, 0.5]


def test_other_bounds_are_mapped_and_the_raw_value_is_kept(score: Callable[..., list[Verdict]]) -> None:
    verdicts = score("too_high", bounds=(1.0, 5.0))
    assert [(v.score, v.detail) for v in verdicts] == [(0.5, "raw value 3")] * 3


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("strings", r"mine\.function: rollout 0 of the first batch: the value is '1\.0' \(str\), not a number"),
        ("one_string", r"mine\.function: my_lab\.rewards:one_string returned '111' \(str\); return a list"),
        ("not_a_list", r"mine\.function: .*returned 1\.0 \(float\)"),
        ("too_few", r"mine\.function: .*returned 2 values for 3 rollouts"),
        ("endless", r"mine\.function: .*returned more than 3 values for 3 rollouts"),
        ("nan", r"mine\.function: .*the value nan is not within bounds \[0, 1\]"),
        ("too_high", r"mine\.function: .*the value 3 is not within bounds \[0, 1\]; set bounds"),
        ("vectors", r"mine\.function: .*not one number"),
        ("coroutines", r"mine\.function: .*a coroutine that nobody awaited; make the function async"),
    ],
)
def test_what_the_first_batch_gets_wrong_is_an_error_with_the_key(
    function: str, message: str, score: Callable[..., list[Verdict]]
) -> None:
    with pytest.raises(ConfigError, match=r"rewards\.components\." + message):
        score(function)


def test_what_a_later_batch_gets_wrong_costs_its_rows_their_value(score: Callable[..., list[Verdict]]) -> None:
    assert [v.score for v in score("remembers")] == [1.0] * 3
    later = score("remembers")
    assert [v.status for v in later] == [Status.ERROR] * 3
    assert later[0].detail == "rewards.components.mine.function: the value 9 is not within bounds [0, 1]; " + (
        "set bounds to the range of the values"
    )


@pytest.mark.parametrize(
    ("function", "said"),
    [
        ("raises_on_c", "ZeroDivisionError: division by zero"),
        ("leaves", "SystemExit: bye"),
    ],
)
def test_a_batch_that_raises_is_tried_again_row_by_row(
    function: str, said: str, score: Callable[..., list[Verdict]]
) -> None:
    verdicts = score(function)
    assert [v.score for v in verdicts] == [1.0, 1.0, 0.0]
    assert verdicts[2].detail == f"this response cannot be scored, others can: {said}"


def test_a_list_that_the_function_empties_is_its_own(score: Callable[..., list[Verdict]]) -> None:
    verdicts = score("mutates")
    assert [(v.status, v.detail) for v in verdicts] == [(Status.ERROR, "RuntimeError: the list is empty now")] * 3


@pytest.mark.parametrize(("function", "status"), [("crashes", "-11"), ("exits", "0")])
def test_a_response_that_ends_the_process_scores_0_and_costs_no_other(
    function: str, status: str, score: Callable[..., list[Verdict]]
) -> None:
    for _ in range(2):
        lost = score(function)
        detail = f"my_lab.rewards:{function} ended its process (status {status})"
        assert [v.score for v in lost] == [1.0, 1.0, 0.0]
        assert lost[2].detail == f"this response cannot be scored, others can: {detail}"
        assert [v.score for v in score(function, ABC[::-1])] == [0.0, 1.0, 1.0]
        assert [v.score for v in score(function, ABC[:2])] == [1.0, 1.0]


@pytest.mark.slow
def test_a_response_that_takes_too_long_scores_0_alone_and_in_company_and_costs_no_other(
    score: Callable[..., list[Verdict]],
) -> None:
    started = time.monotonic()
    lost = score("sleeps", timeout=3.0)
    assert [v.score for v in lost] == [1.0, 1.0, 0.0]
    assert lost[2].detail.startswith("this response cannot be scored, others can: took longer than ")
    assert [v.score for v in score("sleeps", ABC[::-1], timeout=3.0)] == [0.0, 1.0, 1.0]
    assert [v.score for v in score("sleeps", ABC[2:], timeout=3.0)] == [0.0]
    assert [v.score for v in score("sleeps", ABC[:2])] == [1.0, 1.0]
    assert time.monotonic() - started < 60.0


@pytest.mark.slow
def test_a_function_that_fails_on_a_prompt_whatever_the_response_gives_no_score(
    score: Callable[..., list[Verdict]],
) -> None:
    rollouts = [Rollout(prompt, text, "4") for prompt in ("q", "broken") for text in "ac"]
    verdicts = score("fails_on_a_prompt", rollouts)
    assert [v.score for v in verdicts] == [1.0, 0.0, None, None]
    assert [v.status for v in verdicts[2:]] == [Status.ERROR] * 2
    assert [v.score for v in score("declines", ABC)] == [1.0, 1.0, None], "what the function itself says stays"


def test_a_response_whose_value_cannot_be_used_scores_0(score: Callable[..., list[Verdict]]) -> None:
    assert [v.score for v in score("nan_on_c", ABC[:2])] == [1.0, 1.0]
    later = score("nan_on_c", ABC)
    assert [v.score for v in later] == [1.0, 1.0, 0.0]
    assert "the value nan is not within bounds" in later[2].detail


def test_a_slow_response_has_ten_times_as_long_as_an_ordinary_one(score: Callable[..., list[Verdict]]) -> None:
    # Each gets a second by itself, which is too short for c; an ordinary response takes half a second.
    assert [v.score for v in score("slow", ABC, timeout=3.0)] == [1.0] * 3


@pytest.mark.slow
def test_what_the_function_has_started_ends_with_it(score: Callable[..., list[Verdict]], lab: Path) -> None:
    assert score("starts_sleeper", timeout=3.0)[0].status is Status.TIMEOUT
    pid = int((lab / "sleeper").read_text())
    assert ends(pid)


@pytest.mark.parametrize(
    ("function", "params", "message"),
    [
        ("my_lab.rewards:wrods", {}, r"function: my_lab\.rewards has no 'wrods' \(did you mean 'words'\?\)"),
        ("my_lab.reward:words", {}, r"function: there is no module 'my_lab\.reward', neither installed nor below "),
        ("no_lab.rewards:words", {}, r"function: there is no module 'no_lab\.rewards'"),
        ("my_lab.lacks:words", {}, r"function: my_lab\.lacks needs the module 'no_such_library_at_all'"),
        ("my_lab.broken:words", {}, r"function: importing my_lab\.broken raised ZeroDivisionError"),
        ("my_lab.ends:words", {}, r"function: my_lab\.ends:words cannot be loaded: .*ended its process \(status 3\)"),
        ("my_lab.rewards:NOT_A_FUNCTION", {}, r"function: .* is 6 \(int\), which cannot be called"),
        ("my_lab.rewards:Silent", {}, r"function: objects of the class my_lab\.rewards:Silent cannot be called"),
        ("my_lab.rewards:words", {"mots": 1}, r"params: .*words\(rollouts, most=2\) cannot be called as .*'mots'"),
        ("my_lab.rewards:Once", {}, r"params: .*missing a required argument: 'start'"),
    ],
)
def test_a_function_that_cannot_be_called_is_named_before_training(
    function: str, params: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=r"^rewards\.components\.mine\." + message):
        check_function(function, params, "rewards.components.mine")


def test_the_check_runs_in_another_process(lab: Path) -> None:
    check_function("my_lab.rewards:words", {"most": 3}, "rewards.components.mine")
    assert not {"my_lab.rewards", "my_lab"} & sys.modules.keys()


def test_in_a_composite_it_is_gated_weighed_and_closed_like_any_other(engine: Engine) -> None:
    mine = {"kind": "python", "function": "my_lab.rewards:words", "gate": "math", "weight": 0.2}
    config = RewardConfig.model_validate({"components": {"math": {"kind": "math"}, "mine": mine}})
    composite = Composite(config, engine)
    scores = composite.score([Rollout("q", r"\boxed{4}", "4"), Rollout("q", r"\boxed{5}", "4")])
    assert scores.values["mine"] == [1.0, 0.0] and scores.decided == [True, True]
    other = composite.under(config.with_weights({"math": 1.0, "mine": 0.0}))
    pids = composite._contexts["mine"].resource.worker_pids()
    assert other.score([Rollout("q", r"\boxed{4}", "4")]).values["mine"] == [1.0] and other.weights["mine"] == 0.0
    assert other._contexts["mine"].resource.worker_pids() == pids, "an audit in training starts no second process"
    composite.close()
    assert composite.score([Rollout("q", r"\boxed{4} and more words", "4")]).values["mine"] == [0.0]
    composite.close()


def test_the_process_ends_with_the_one_that_started_it(lab: Path) -> None:
    code = (
        "import os, signal\n"
        "from adhere.rewards import Rollout\n"
        "from adhere.rewards.process import FunctionProcess\n"
        "p = FunctionProcess('my_lab.rewards:words', {}, key='k', timeout=20)\n"
        "p.call([Rollout('q', 'a', None)])\n"
        "print(p.worker_pids()[0], flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": root}, cwd=lab, capture_output=True, text=True
    )
    assert ends(int(done.stdout))


@pytest.mark.parametrize("function", ["brevity", "my lab:f", "m:f()", ":f", "m:"])
def test_a_path_that_is_not_one_is_refused(function: str) -> None:
    given = {"components": {"mine": {"kind": "python", "function": function}}}
    with pytest.raises(ValueError, match="function"):
        RewardConfig.model_validate(given)


@pytest.mark.parametrize("bounds", [[1, 0], [0, 0], [0, ".inf"], [0], [float("nan"), 1]])
def test_bounds_that_cannot_be_meant_are_refused(bounds: list[Any]) -> None:
    given = {"components": {"mine": {"kind": "python", "function": "m:f", "bounds": bounds}}}
    with pytest.raises(ValueError, match="bounds"):
        RewardConfig.model_validate(given)
